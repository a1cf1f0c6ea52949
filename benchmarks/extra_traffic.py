"""Figures of routed traffic that are held against a bound: allocations, large route tables, and changes under load."""
import json
import statistics
import time

from allocations import Counter
from common import BenchError
import loads
import routes
import systems
import traffic

ALLOCATIONS, TABLE_RATIO = 2, 1.2
CHANGES, CONNECTIONS = 200, 16
TICK = 500
"""Requests that clients/counting.py makes between two of its lines: a change each, so 100,000 in all."""
SECONDS, ROUNDS = 2, 3
CHANGING, TABLE_HOSTS = "10.96.0.123", {"table-10": "10.96.0.121", "table-1000": "10.96.0.122"}


def measure(lab):
    """A part that can't be measured is a row without a value, and doesn't hold."""
    rows = []
    parts = []
    for system in systems.meshed(lab, *systems.ROUTED["http1"]):
        parts.append((f"heap allocations per request, {system.name}", "calls", ALLOCATIONS,
                      lambda system=system: allocations(lab, system)))
    parts += [
        (f"failures in {CHANGES * TICK:,} requests across {CHANGES} route changes", "requests", 0,
         lambda: changes(lab)),
        ("CPU per request, 1,000 routes to 10", "x", TABLE_RATIO, lambda: tables(lab)),
    ]
    for name, unit, limit, part in parts:
        try:
            value, detail = part()
        except BenchError as error:
            value, detail = None, f"not measured: {error}"
        rows.append({"name": name, "value": None if value is None else round(value, 3), "unit": unit, "limit": limit,
                     "holds": value is not None and value <= limit, "detail": detail})
    return rows


def allocations(lab, system):
    """Per request of the routed HTTP/1.1 load, of the proxies of both nodes, after a second of it."""
    load = traffic.load(lab, "http1-routed")
    load(system, 1)
    with Counter(lab.proxy_pids()) as counter:
        count = load(system, SECONDS)["requests"]
    return counter.total / count, (
        f"{counter.total} calls of malloc, calloc, realloc and the like in {count} requests, new connections included")


def tables(lab):
    """The ratio of medians of interleaved rounds; each asks for what the last rule matches."""
    targets = {}
    for name, host in TABLE_HOSTS.items():
        objects, path = routes.table(name)
        routes.apply(lab, name, objects)
        system = systems.System(name, "client", host, 80, lab.mesh_pids)
        settled(lab, system, path)
        targets[system] = path
    found = {system.name: [] for system in targets}
    for number in range(ROUNDS + 1):
        for system, path in targets.items():
            values = loads.http(lab, system, SECONDS if number else 1, path=path,
                                headers=[traffic.HOST, traffic.VERSION])
            if number:
                found[system.name].append(values["cpu_us_per_request"])
    medians = {name: statistics.median(values) for name, values in found.items()}
    small, large = (medians[name] for name in TABLE_HOSTS)
    return large / small, f"{large:.2f} us of CPU to {small:.2f} us, all processes of the mesh, within a node"


def settled(lab, system, path, seconds=10):
    """Until the routes are in force."""
    end = time.monotonic() + seconds
    while True:
        try:
            return traffic.verify(lab, system, "http1-routed", path)
        except BenchError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def changes(lab):
    """A counting client, and another route each 500 of its requests."""
    system = systems.System("changing", "client", CHANGING, 80, lab.mesh_pids)
    routes.apply(lab, "changing", routes.changing(0))
    settled(lab, system, traffic.PATH)
    client = loads.client(lab, system, "counting", [routes.AUTHORITY, traffic.PATH, CONNECTIONS, CHANGES])
    start = time.monotonic()
    try:
        for generation in range(1, CHANGES + 1):
            routes.apply(lab, "changing", routes.changing(generation))
            if client.stdout.readline() != "tick\n":
                loads.finish(client, "the counting client", 10)
                raise BenchError("the counting client ended early")
        client.stdin.write("stop\n")
        client.stdin.flush()
        output = loads.finish(client, "the counting client", 30)
    finally:
        client.kill()
        client.wait()
    done = json.loads(output.splitlines()[-1])
    failures = ", ".join(f"{name}: {number}" for name, number in done["failures"].items()) or "none"
    return sum(done["failures"].values()), (
        f"{done['requests']} requests in {time.monotonic() - start:.0f} s, answered by {done['generations']} of"
        f" {CHANGES + 1} sets of routes; failures: {failures}")
