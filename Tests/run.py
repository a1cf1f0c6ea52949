#!/usr/bin/env python3
"""Builds once and runs all tests: first those of the modules, then the ones that make labs, one at a time.

Under CI=true a test that skips counts as a failure: there, everything that it needs has to be present.
"""
import os, re, subprocess, sys

SKIPPED = re.compile(r"^\S+ (Test|Suite) .* skipped")


def swift(*arguments):
    """Runs `swift …`, passing its output on; returns (status, the lines of skipped tests)."""
    skipped = []
    process = subprocess.Popen(["swift", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    for line in process.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        if SKIPPED.match(line):
            skipped.append(line.strip())
    return process.wait(), skipped


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    os.chdir(root)
    os.environ.setdefault("WEFT_BPF_OBJECT", os.path.join(root, "bpf/build/weft.bpf.o"))
    status, _ = swift("build", "--build-tests")
    if status != 0:
        return status
    failed, skipped = 0, []
    for selection in (("--skip", "EndToEndTests"), ("--filter", "EndToEndTests")):
        status, lines = swift("test", "--skip-build", *selection)
        failed |= status
        skipped += lines
    if skipped:
        print(f"\n{len(skipped)} tests were skipped:")
        for line in skipped:
            print(f"  {line}")
        if os.environ.get("CI", "").lower() in ("1", "true"):
            print("Under CI nothing may be skipped: install what is missing, or run as root.")
            return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
