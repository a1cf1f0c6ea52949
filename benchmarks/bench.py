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
import systems

WORKLOADS = ["idle-2000", "http1-keepalive-1kb", "http1-new-connection", "bulk"]
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
    }


def measure(lab, targets, workloads, seconds, rounds):
    run_one = load_functions(lab)
    measured = {}
    for workload in workloads:
        by_system = measured[workload] = {system.name: [] for system in targets}
        once = workload.startswith("idle")
        if not once:
            for system in targets:
                run_one[workload](system, 1)
        for number in range(1 if once else rounds):
            for system in targets:
                print(f"\r{workload}: round {number + 1}, {system.name}".ljust(70), end="", file=sys.stderr, flush=True)
                by_system[system.name].append(run_one[workload](system, seconds))
    print("\r".ljust(72) + "\r", end="", file=sys.stderr, flush=True)
    return measured


def main():
    options = arguments()
    if os.geteuid() != 0:
        raise BenchError("making namespaces and pinning processes needs root: sudo make bench")
    if (os.cpu_count() or 1) < 2:
        raise BenchError("one core is too few: load and proxies are pinned to a core each")
    os.makedirs(WORK, exist_ok=True)
    loads.make_files()
    facts = environment.describe(options.seconds, options.rounds)
    lab = labs.Lab("bench", os.path.join(HERE, "lab"), meshed=not options.peers_only)
    proxies = None
    # Outside of `try`: where another run's lab is up, this fails, and that lab must stay.
    lab.up()
    try:
        lab.set_port_range()
        proxies = peers.Peers(lab)
        targets = systems.all_systems(lab, proxies)
        targets = [system for system in targets if system.name in chosen(systems.NAMES, options.only)]
        if options.profile:
            workload = next((name for name in WORKLOADS if name in options.only), "http1-keepalive-1kb")
            return profiling.record(targets, options.profile, workload, load_functions(lab)[workload], options.seconds)
        parts = chosen(WORKLOADS + [EXTRA], options.only)
        workloads = [name for name in parts if name != EXTRA]
        measured = measure(lab, targets, workloads, options.seconds, options.rounds)
        print(report.table(measured))
        checks = extra.measure(lab, measured) if lab.meshed and EXTRA in parts else []
    finally:
        if proxies:
            proxies.stop()
        lab.down()
    if checks:
        print(report.checks(checks))
    facts["unsteady"] = report.unsteady(measured)
    for sentence in facts["unsteady"]:
        print(f"unsteady, was the machine busy? {sentence}")
    if not options.only and not options.peers_only:
        report.write(os.path.join(HERE, "results.json"), report.rows(measured))
        report.write(os.path.join(HERE, "environment.json"), facts)
        report.write(os.path.join(HERE, "extra.json"), checks)
        print(f"\nwritten: {HERE}/results.json, environment.json, extra.json")
    print("\nCores: " + "; ".join(f"{core}: {what}" for core, what in facts["pinning"].items()))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
