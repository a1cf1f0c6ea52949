"""Processes: started and stopped by pid, pinned, and what they cost by /proc."""
import os
import subprocess
import time

from common import WORK, BenchError


class Process:
    """A program in a network namespace on one core. It dies with this process."""

    def __init__(self, name, argv, netns, core, port, seconds=20):
        self.log = os.path.join(WORK, "logs", f"{name}.log")
        os.makedirs(os.path.dirname(self.log), exist_ok=True)
        command = ["taskset", "-c", str(core), "nsenter", f"--net={netns}", "setpriv", "--pdeathsig", "KILL"] + argv
        with open(self.log, "w") as log:
            self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + seconds
        while not listens(self.popen.pid, port):
            if self.popen.poll() is not None or time.monotonic() > end:
                self.stop()
                with open(self.log) as log:
                    tail = log.read()[-1500:]
                raise BenchError(f"{name} doesn't listen on {port}; the end of {self.log}: {tail}")
            time.sleep(0.02)

    def pids(self):
        return with_children([self.popen.pid])

    def stop(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(5)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


def listens(pid, port):
    """Whether anyone in the network namespace of `pid` listens on a TCP port."""
    for table in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{table}") as lines:
                next(lines)
                for line in lines:
                    fields = line.split()
                    if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                        return True
        except (OSError, StopIteration):
            pass
    return False


def with_children(pids):
    found = []
    for pid in pids:
        found.append(pid)
        for task in tasks(pid):
            try:
                with open(f"/proc/{pid}/task/{task}/children") as children:
                    found += with_children([int(child) for child in children.read().split()])
            except OSError:
                pass
    return found


def tasks(pid):
    try:
        return [int(task) for task in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def in_cgroups(roots):
    """The pids of cgroups and their children."""
    pids = set()
    for root in roots:
        for folder, _, _ in os.walk(root):
            try:
                with open(os.path.join(folder, "cgroup.procs")) as lines:
                    pids.update(int(line) for line in lines)
            except OSError:
                pass
    return sorted(pids)


def pin(pids, core):
    """All threads, and so those that they start later."""
    for pid in pids:
        for task in tasks(pid):
            try:
                os.sched_setaffinity(task, {core})
            except ProcessLookupError:
                pass


def cpu_seconds(pids):
    """On a core, user and kernel together, of all threads alive."""
    total = 0
    for pid in pids:
        for task in tasks(pid):
            try:
                with open(f"/proc/{pid}/task/{task}/schedstat") as line:
                    total += int(line.read().split()[0])
            except OSError:
                pass
    return total / 1e9


def resident_kb(pids):
    """VmRSS summed up: pages that processes share count in each."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status") as lines:
                total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
        except OSError:
            pass
    return total


def core_busy(core):
    """(busy, total) seconds of one core since the machine started, by /proc/stat."""
    with open("/proc/stat") as lines:
        for line in lines:
            if line.startswith(f"cpu{core} "):
                ticks = [int(field) for field in line.split()[1:9]]
                return (sum(ticks) - ticks[3] - ticks[4]) / 100, sum(ticks) / 100
    raise BenchError(f"this machine has no core {core}: the measurement needs two")


class Meter:
    """What a system's processes spend while a load runs. A process that ends in between spoils the measurement."""

    def __init__(self, name, pids):
        self.name, self.pids = name, pids

    def __enter__(self):
        self.before = self.pids()
        self.cpu = cpu_seconds(self.before)
        return self

    def __exit__(self, kind, value, trace):
        self.cpu = cpu_seconds(self.before) - self.cpu
        if kind is None and self.pids() != self.before:
            raise BenchError(f"a process of {self.name} ended or was started while it was measured; see its logs")
