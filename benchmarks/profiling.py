"""Where the proxies' time goes: perf record under a load, as a text report."""
import os
import shutil
import subprocess
import time

from common import WORK, BenchError, run


def record(targets, name, workload, load, seconds):
    """`load(system, seconds)` is what runs meanwhile."""
    system = next((system for system in targets if system.name == name), None)
    if system is None or not system.pids():
        raise BenchError(f"{name} has no processes to profile here")
    if not shutil.which("perf"):
        raise BenchError("perf isn't installed: the Debian package linux-perf has it")
    data, text = os.path.join(WORK, "perf.data"), os.path.join(WORK, f"profile-{name}-{workload}.txt")
    load(system, 1)
    pids = ",".join(str(pid) for pid in system.pids())
    # By the core's clock: virtual machines often have no cycle counter.
    recorder = subprocess.Popen(
        ["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-g", "-o", data, "-p", pids],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(0.5)
    try:
        values = load(system, seconds)
    finally:
        recorder.send_signal(2)
        _, errors = recorder.communicate(timeout=30)
    if not os.path.exists(data) or os.path.getsize(data) == 0:
        raise BenchError(f"perf recorded nothing: {errors.strip()[-500:]}")
    shared = ["perf", "report", "-i", data, "--stdio", "--percent-limit", "0.4"]
    flat = run(shared + ["--no-children", "-g", "none", "--sort", "comm,dso,symbol"], timeout=300)
    callers = run(shared + ["--children", "-g", "none", "--sort", "symbol"], timeout=300)
    with open(text, "w") as file:
        numbers = ", ".join(f"{field} {value:.4g}" for field, value in values.items() if value is not None)
        file.write(f"{name}, {workload}, with perf attached: {numbers}\n\n"
                   f"Own time\n{flat}\n\nWith everything called\n{callers}")
    os.remove(data)
    print("\n".join(line for line in flat.splitlines() if line and not line.startswith("#"))[:4000])
    print(f"\nwritten: {text}")
    return 0
