#!/usr/bin/env python3
"""The main job on real input, each line checked: two nodes, eight pods, two of them programs of others.

Usage: demo.py; needs root and the programs in $BIN (`make build`). Ends with a table, and with status 1 if a line failed.
"""
import os, sys, time
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab, checks

TITLE = "What Weft does for two nodes and eight pods"


def main():
    if os.geteuid() != 0:
        sys.exit("demo: making namespaces and loading eBPF programs needs root: sudo make demo")
    started = time.monotonic()
    results = []
    mesh = lab.Lab("demo")
    try:
        print("starting two nodes and their pods", flush=True)
        mesh.up(os.path.join(os.path.dirname(os.path.abspath(__file__)), "mesh"))
        for name, check in checks.ALL:
            before = time.monotonic()
            try:
                shown, good = check(mesh), True
            except lab.Failed as failure:
                shown, good = str(failure), False
            results.append((good, name, shown))
            print(f"{'ok  ' if good else 'FAIL'} {name}: {shown}  ({time.monotonic() - before:.1f} s)", flush=True)
            if not good and name in checks.NEEDED:
                break
    except lab.Failed as failure:
        results.append((False, "the lab starts", str(failure)))
    finally:
        mesh.down()
    good = all(row[0] for row in results) and len(results) == len(checks.ALL)
    width = max(len(row[1]) for row in results)
    print(f"\n{TITLE}")
    for ok, name, shown in results:
        print(f"  {'ok  ' if ok else 'FAIL'}  {name.ljust(width)}  {shown}")
    print(f"\n{sum(row[0] for row in results)} passed, {len(checks.ALL) - sum(row[0] for row in results)} failed"
          f" in {time.monotonic() - started:.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
