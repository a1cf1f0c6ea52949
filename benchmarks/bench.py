#!/usr/bin/env python3
"""Measures Weft beside Envoy, HAProxy and direct connections, in one run, on one machine.

Usage: bench.py [--seconds N] [--rounds N] [--only NAME[,NAME]] [--peers-only] [--profile SYSTEM]

Needs root, two cores and the programs in $BIN (`make build`). Writes results.json, environment.json and extra.json
beside this file and prints a table. With --only or --peers-only it prints the table only: results.json is always of one
whole run.
"""
import argparse
import os
import signal
import sys

from common import HERE, WORK, BenchError
import environment
import extra
import lab as labs
import loads
import peers
import profiling
import report
import routes
import systems
import traffic

WORKLOADS = ["idle-2000", "http1-keepalive-1kb", "http1-new-connection", "bulk"] + traffic.WORKLOADS
EXTRA = "extra"


def arguments():
    parser = argparse.ArgumentParser(description="Measures Weft beside Envoy, HAProxy and direct connections.")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of one system in one round (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds over all systems (default: 3)")
    parser.add_argument("--only", default="", help=f"some of: {', '.join(WORKLOADS + [EXTRA] + systems.NAMES)}")
    parser.add_argument("--peers-only", action="store_true", help="without the mesh: what Weft is compared with")
    parser.add_argument("--profile", metavar="SYSTEM",
                        help="perf record of a system's proxies under the keep-alive load, or that of --only")
    parsed = parser.parse_args()
    parsed.only = [name for name in parsed.only.split(",") if name]
    for name in parsed.only + ([parsed.profile] if parsed.profile else []):
        if name not in WORKLOADS + [EXTRA] + systems.NAMES:
            parser.error(f"there is no {name}; there is {', '.join(WORKLOADS + [EXTRA] + systems.NAMES)}")
    if parsed.seconds < 1 or parsed.rounds < 1:
        parser.error("--seconds and --rounds are at least 1")
    return parsed


def chosen(names, only):
    """Those of `names` that `only` holds, or all of them where it holds none."""
    return [name for name in names if name in only] or names


def load_functions(lab):
    """Workload -> a function of a system and seconds."""
    checksum = loads.bulk_checksum()
    return {
        "idle-2000": lambda system, seconds: loads.idle(lab, system, seconds),
        "http1-keepalive-1kb": lambda system, seconds: loads.http(lab, system, seconds),
        "http1-new-connection": lambda system, seconds: loads.http(lab, system, seconds, close=True),
        "bulk": lambda system, seconds: loads.bulk(lab, system, seconds, checksum),
        **{workload: traffic.load(lab, workload) for workload in traffic.WORKLOADS},
    }


def systems_of(workload, lab, proxies, only):
    found = (traffic.systems_of(workload, lab, proxies) if workload in traffic.WORKLOADS
             else systems.streams(lab, proxies))
    return [system for system in found if system.name in chosen(systems.NAMES, only)]


def measure(lab, proxies, workloads, options):
    """Rounds by workload and system; and a sentence for each system that a routed workload could not measure."""
    run_one = load_functions(lab)
    measured, missing = {}, []
    for workload in workloads:
        targets = systems_of(workload, lab, proxies, options.only)
        by_system = measured[workload] = {system.name: [] for system in targets}
        once = workload.startswith("idle")
        # Round 0 warms up.
        for number in range(1 if once else 0, 2 if once else options.rounds + 1):
            for system in [system for system in targets if system.name in by_system]:
                print(f"\r{workload}: round {number}, {system.name}".ljust(70), end="", file=sys.stderr, flush=True)
                try:
                    values = run_one[workload](system, options.seconds if number else 1)
                except BenchError as error:
                    if workload not in traffic.WORKLOADS:
                        raise
                    missing.append(f"{workload}, {system.name}: {error}")
                    del by_system[system.name]
                    continue
                if number:
                    by_system[system.name].append(values)
    print("\r".ljust(72) + "\r", end="", file=sys.stderr, flush=True)
    return measured, missing


def apply_routes(lab):
    """A sentence where the mesh refuses the routes: then the routed workloads find them not in force."""
    try:
        routes.apply(lab, "workloads", routes.weft())
        return []
    except BenchError as error:
        return [f"the routes of the routed workloads: {error}"]


def main():
    options = arguments()
    if os.geteuid() != 0:
        raise BenchError("making namespaces and pinning processes needs root: sudo make bench")
    if (os.cpu_count() or 1) < 2:
        raise BenchError("one core is too few: load and proxies are pinned to a core each")
    os.makedirs(WORK, exist_ok=True)
    loads.make_files()
    traffic.make_files()
    facts = environment.describe(options.seconds, options.rounds)
    lab = labs.Lab("bench", os.path.join(HERE, "lab"), meshed=not options.peers_only)
    proxies = None
    # Outside of `try`: where another run's lab is up, this fails, and that lab must stay.
    lab.up()
    try:
        lab.set_port_range()
        missing = apply_routes(lab) if lab.meshed else []
        proxies = peers.Peers(lab)
        if options.profile:
            workload = next((name for name in WORKLOADS if name in options.only), "http1-keepalive-1kb")
            targets = systems_of(workload, lab, proxies, [])
            return profiling.record(targets, options.profile, workload, load_functions(lab)[workload], options.seconds)
        parts = chosen(WORKLOADS + [EXTRA], options.only)
        workloads = [name for name in parts if name != EXTRA]
        measured, failed = measure(lab, proxies, workloads, options)
        print(report.table(measured))
        checks = extra.measure(lab, measured) if lab.meshed and EXTRA in parts else []
    finally:
        if proxies:
            proxies.stop()
        lab.down()
    if checks:
        print(report.checks(checks))
    facts["missing"] = missing + failed
    for sentence in facts["missing"]:
        print(f"missing: {sentence}")
    facts["unsteady"] = report.unsteady(measured)
    for sentence in facts["unsteady"]:
        print(f"unsteady, was the machine busy? {sentence}")
    if not options.only and not options.peers_only:
        report.write(os.path.join(HERE, "results.json"), report.rows(measured))
        report.write(os.path.join(HERE, "environment.json"), facts)
        report.write(os.path.join(HERE, "extra.json"), checks)
        print(f"\nwritten: {HERE}/results.json, environment.json, extra.json")
    print("\nCores: " + "; ".join(f"{core}: {what}" for core, what in facts["pinning"].items()))
    return 1 if facts["missing"] else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
