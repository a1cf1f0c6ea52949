#!/usr/bin/env python3
"""Builds once and runs all tests: each module's in a process of its own, last those that make whole labs, then the fuzz
targets, some seconds each.

Kernel tests count descriptors and move their process between cgroups: modules must not share a process, nor a machine's
time, so each runs after the other. Under CI=true a test that skips counts as a failure: there, everything that it needs
has to be present.
"""
import glob, os, re, resource, subprocess, sys, threading, time

MODULES = [
    "MeshModelTests", "ProxyCoreTests", "IdentityTests", "KubernetesAPITests", "InjectionTests", "ControlPlaneTests", "WeftCLITests", "StubCoreTests", "AgentCoreTests",
    "ProxyRuntimeTests", "DiscoveryTests", "CaptureTests", "LabTests", "EndToEndTests",
]
# Pure: their tests share nothing.
PARALLEL = {
    "MeshModelTests", "ProxyCoreTests", "IdentityTests", "KubernetesAPITests", "InjectionTests", "ControlPlaneTests", "WeftCLITests",
    "StubCoreTests",
}
# The step that is no module. Longer: `make fuzz`.
FUZZ, FUZZ_SECONDS = "Fuzz", 5
# Steps that are programs of their own: the stub by itself, and with node proxies and Envoy; wrong clocks; another CA; then all that needs the API server
# that `make deps-kubernetes` builds, last README's own walk.
SCRIPTS = {
    "Stub": ["Tests/Stub/test_stub.py"], "StubInterop": ["Tests/Interop/stub_interop.py"], "Clock": ["Tests/Faults/test_clock.py"], "CutOver": ["Tests/Faults/test_cutover.py"],
}
KUBERNETES = {
    **{os.path.basename(path)[:-3].replace("test_", "Kubernetes."): [path, ".build/debug/weft-control"]
       for path in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "Kubernetes/test_*.py")))},
    "DemoKubernetes": ["demo/kubernetes.py"],
}
# Who speaks gRPC from Python.
PACKAGES = "Tests/EndToEndTests/Programs/packages.py"
SKIPPED = re.compile(r"^\S+ (Test|Suite) .* skipped")
PROGRAM_SKIPPED = re.compile(r"\.\.\. skipped ")
FAILED = re.compile(r"^\S+ Test .* (recorded an issue|failed after)")


# Foundation's Process.run (Swift 6.3) reads past a page now and then: a module whose process ends so, with no test failed,
# runs once more. A fault of ours comes again.
CRASHED = re.compile(r"exited with unexpected signal code")


def remove_labs():
    """Those that a crashed process of tests has left."""
    for name in os.listdir("/run/weft-lab") if os.path.isdir("/run/weft-lab") else []:
        if re.fullmatch(r"(e2e|ex)[a-z0-9]*", name):
            subprocess.run([os.path.join(os.environ["BIN"], "weft-lab"), "down", "--name", name])


def swift(*arguments, again=True):
    """Runs `swift …`, passing its output on; returns (status, lines of skipped tests, lines of failures)."""
    skipped, failed, crashed = [], [], False
    process = subprocess.Popen(["swift", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    for line in process.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        if SKIPPED.match(line):
            skipped.append(line.strip())
        elif FAILED.match(line):
            failed.append(line.strip())
        crashed = crashed or bool(CRASHED.search(line))
    status = process.wait()
    if status and crashed and not failed and again:
        print("the tests' process has crashed: once more", flush=True)
        remove_labs()
        return swift(*arguments, again=False)
    return status, skipped, failed


def program(script):
    """Runs a Python program of tests, passing its output on; returns (status, lines of skipped tests)."""
    skipped = []
    process = subprocess.Popen([sys.executable, *script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")

    def read():
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if PROGRAM_SKIPPED.search(line):
                skipped.append(f"{script[0]}: {line.strip()}")
    # What a test has left behind may hold the pipe.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    status = process.wait()
    reader.join(10)
    return status, skipped


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    os.chdir(root)
    os.environ.setdefault("WEFT_BPF_OBJECT", os.path.join(root, "bpf/build/weft.bpf.o"))
    # The programs that `swift build --build-tests` makes, never those of a release folder that may be absent or old.
    os.environ["BIN"] = os.path.join(root, ".build/debug")
    try:
        # Ten thousand connections need as many descriptors.
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
    except (ValueError, OSError):
        pass
    if swift("build", "--build-tests")[0] != 0:
        return 1
    summary, skipped, failures = [], [], []
    steps = sys.argv[1:] or MODULES + [*SCRIPTS, "Kubernetes", FUZZ]
    for module in [step for name in steps for step in (KUBERNETES if name == "Kubernetes" else [name])]:
        started = time.monotonic()
        if module == FUZZ:
            status = subprocess.run([sys.executable, "Tests/Fuzz/run.py", str(FUZZ_SECONDS)]).returncode
            summary.append((module, status, time.monotonic() - started))
            continue
        script = SCRIPTS.get(module) or KUBERNETES.get(module)
        if script:
            if module in KUBERNETES and subprocess.run([sys.executable, PACKAGES]).returncode != 0:
                return 1
            print(f"\n{module}", flush=True)
            status, skips = program(script)
            skipped += skips
            summary.append((module, status, time.monotonic() - started))
            failures += [f"{module}: {' '.join(script)}"] if status else []
            continue
        parallel = "--parallel" if module in PARALLEL else "--no-parallel"
        status, skips, failed = swift("test", "--skip-build", parallel, "--filter", rf"^{module}\.")
        summary.append((module, status, time.monotonic() - started))
        skipped += skips
        failures += failed
    print()
    for module, status, seconds in summary:
        print(f"{'ok  ' if status == 0 else 'FAIL'}  {module:22}  {seconds:5.1f} s")
    for title, lines in (("failed", failures), ("skipped", skipped)):
        if lines:
            print(f"\n{len(lines)} {title}:")
            for line in lines:
                print(f"  {line[:300]}")
    if skipped and os.environ.get("CI", "").lower() in ("1", "true"):
        print("\nUnder CI nothing may be skipped: install what is missing, or run as root.")
        return 1
    return 1 if any(status for _, status, _ in summary) else 0


if __name__ == "__main__":
    sys.exit(main())
