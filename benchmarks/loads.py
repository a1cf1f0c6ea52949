"""The loads. Each returns numbers of one round, and checks what came back: a wrong answer ends the run."""
import json
import os
import re
import subprocess
import sys
import time
import zlib

from common import HERE, PROXY_CORE, WORK, BenchError
import procs

BULK_BYTES = 256 << 20
CONNECTIONS = 64
IDLE = 2000


def make_files():
    """The large body that the backend serves: larger than the caches, of bytes that differ."""
    path = os.path.join(WORK, "www", "bulk")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.exists(path) or os.path.getsize(path) != BULK_BYTES:
        with open(path, "wb") as file:
            for _ in range(BULK_BYTES >> 20):
                file.write(os.urandom(1 << 20))


def bulk_checksum():
    with open(os.path.join(WORK, "www", "bulk"), "rb") as file:
        checksum = 0
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum


def client(lab, system, name, arguments):
    script = os.path.join(HERE, "clients", f"{name}.py")
    argv = [sys.executable, script, system.host, str(system.port)] + [str(argument) for argument in arguments]
    return subprocess.Popen(
        lab.inside(system.client, argv), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process, what, seconds):
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise BenchError(f"{what} didn't end in {seconds:.0f} s") from None
    if process.returncode != 0:
        raise BenchError(f"{what} failed ({process.returncode}): {errors.strip()[-1000:]}")
    return output


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]


def kilobytes(text):
    number, unit = re.fullmatch(r"([\d.]+)(KB|MB|GB|B)", text).groups()
    return float(number) * {"B": 1 / 1024, "KB": 1, "MB": 1024, "GB": 1024 * 1024}[unit]


def metered(lab, system, argv, what, seconds):
    """The output of a load, and what the proxies spent on it: a function of the count of requests gives the fields."""
    busy = procs.core_busy(PROXY_CORE)
    with procs.Meter(system.name, system.pids) as meter:
        process = subprocess.Popen(
            lab.inside(system.client, argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(seconds * 0.7)
        resident = procs.resident_kb(system.pids())
        output = finish(process, what, seconds + 30)
    after = procs.core_busy(PROXY_CORE)
    return output, lambda count: {
        "requests": count,
        "cpu_us_per_request": meter.cpu * 1e6 / count if meter.before else None,
        "resident_mb": resident / 1024 if meter.before else None,
        "proxy_core_percent": (after[0] - busy[0]) / max(after[1] - busy[1], 0.01) * 100,
    }


def http(lab, system, seconds, close=False, path="/1k", headers=()):
    """wrk, closed loop, one thread; with `close` each request has a connection of its own."""
    fields = [*headers, "Connection: close"] if close else headers
    options = [option for field in fields for option in ("-H", field)]
    url = f"http://{system.host}:{system.port}{path}"
    argv = ["wrk", "--latency", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *options, url]
    what = f"wrk against {system.name}"
    output, spent = metered(lab, system, argv, what, seconds)
    bad = re.findall(r"(?:Non-2xx or 3xx responses|Socket errors): .*", output)
    found = re.search(r"(\d+) requests in [\d.]+\w+, ([\d.]+\w+) read", output)
    if bad or not found or int(found[1]) < 10:
        raise BenchError(f"{what} had errors: {'; '.join(bad) or output[-500:]}")
    count = int(found[1])
    size = kilobytes(found[2]) / count
    if not 1.0 <= size <= 1.8:
        raise BenchError(f"{what}: a response has {size:.2f} KB on the average, expected 1 KB of body and a head")
    return {
        "requests_per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1]),
        "p50_ms": milliseconds(re.search(r"(?m)^\s+50%\s+(\S+)", output)[1]),
        "p99_ms": milliseconds(re.search(r"(?m)^\s+99%\s+(\S+)", output)[1]),
        **spent(count),
    }


def bulk(lab, system, seconds, checksum):
    """One stream from server to client. The first body is checked byte by byte, and not timed."""
    what = f"the bulk stream through {system.name}"
    process = client(lab, system, "bulk", [seconds, BULK_BYTES, checksum])
    if process.stdout.readline() != "checked\n":
        finish(process, what, 5)
        raise BenchError(f"{what} ended early")
    with procs.Meter(system.name, system.pids) as meter:
        time.sleep(seconds * 0.7)
        resident = procs.resident_kb(system.pids())
        done = json.loads(finish(process, what, seconds + 30))
    gigabytes = done["bytes"] / 1e9
    return {
        "gigabytes_per_second": gigabytes / done["seconds"],
        "cpu_seconds_per_gigabyte": meter.cpu / gigabytes if meter.before else None,
        "resident_mb": resident / 1024 if meter.before else None,
    }


def idle(lab, system, seconds):
    """2,000 keep-alive connections, each used once: what they hold, and what they cost while nothing happens."""
    what = f"{IDLE} idle connections through {system.name}"
    before = procs.resident_kb(system.pids())
    process = client(lab, system, "idle", [IDLE])
    if process.stdout.readline() != "ready\n":
        finish(process, what, 30)
        raise BenchError(f"{what} ended early")
    time.sleep(1)
    with procs.Meter(system.name, system.pids) as meter:
        time.sleep(seconds)
    resident = procs.resident_kb(system.pids())
    process.stdin.write("again\n")
    process.stdin.flush()
    finish(process, what, 60)
    if not meter.before:
        return {}
    return {
        "resident_mb": resident / 1024,
        "kb_per_connection": (resident - before) / IDLE,
        "idle_cpu_percent": meter.cpu / seconds * 100,
    }
