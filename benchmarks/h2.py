"""HTTP/2 and gRPC: h2load, closed loop, one thread. "100 streams on 4 connections" is 25 on each."""
import os
import re

from common import WORK, BenchError
import loads

CONNECTIONS, STREAMS = 4, 25


def load(lab, system, seconds, path, headers, size, body=None):
    """`size`: bytes of each answer's body; `body`: a file that each request posts."""
    log = os.path.join(WORK, "h2load.log")
    options = [option for field in headers for option in ("-H", field)] + (["-d", body] if body else [])
    argv = ["h2load", "-t1", f"-c{CONNECTIONS}", f"-m{STREAMS}", f"-D{seconds}", f"--log-file={log}", *options,
            f"http://{system.host}:{system.port}{path}"]
    what = f"h2load against {system.name}"
    output, spent = loads.metered(lab, system, argv, what, seconds)
    counts = dict((word, int(number)) for number, word in re.findall(
        r"(\d+) (done|succeeded|failed|errored|timeout)", output))
    good = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", output)
    count = int(good[1]) if good else 0
    if count < 10 or any(counts.get(word) != 0 for word in ("failed", "errored", "timeout")):
        raise BenchError(f"{what} had errors: {output[-700:]}")
    data = int(re.search(r"\((\d+)\) data", output)[1])
    # Of answers that are under way when the time is over a part is counted.
    if abs(data - count * size) > CONNECTIONS * STREAMS * size:
        raise BenchError(f"{what}: {data} bytes in {count} answers, expected {size} in each")
    times = microseconds(log)
    return {
        "requests_per_second": float(re.search(r"([\d.]+) req/s", output)[1]),
        "p50_ms": times[len(times) // 2] / 1000,
        "p99_ms": times[len(times) * 99 // 100] / 1000,
        **spent(count),
    }


def microseconds(log):
    """Of each answer, in order of length."""
    with open(log) as lines:
        times = sorted(int(line.split("\t")[2]) for line in lines)
    os.remove(log)
    if not times:
        raise BenchError(f"{log} is empty")
    return times
