#!/usr/bin/env python3
"""Builds the fuzz targets with libFuzzer and AddressSanitizer and runs each for some seconds.

    Tests/Fuzz/run.py [SECONDS [TARGET ...]]

A target is one Swift file here. It is compiled into one module with the sources that it tests, so it reaches what is
internal. Seeds lie in corpus/TARGET; what libFuzzer finds on the way stays in .build/fuzz, as do inputs that crash.
"""
import glob, os, shutil, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORK = os.path.join(ROOT, ".build/fuzz")
# Of each target: the sources under Sources/ProxyCore that it needs, and the longest input in bytes.
TARGETS = {
    "HTTP1": (["HTTP/HTTPHead.swift", "HTTP1/*.swift"], 4096),
    "Sniffing": (["HTTP/HTTPHead.swift", "Sniffing/*.swift"], 1024),
    "DNS": ([f"DNS/DNS{name}.swift" for name in ("Bytes", "Constants", "Error", "Query", "ResponseWriter", "WireName")], 1024),
}


def build_model():
    """Compiles MeshModel, which targets import: a module, and an object next to it."""
    sources = sorted(glob.glob(os.path.join(ROOT, "Sources/MeshModel/**/*.swift"), recursive=True))
    subprocess.run(
        ["swiftc", "-swift-version", "6", "-O", "-wmo", "-parse-as-library", "-module-name", "MeshModel", "-emit-module",
         "-emit-module-path", os.path.join(WORK, "MeshModel.swiftmodule"), "-emit-object",
         "-o", os.path.join(WORK, "MeshModel.o"), *sources],
        check=True)


def build(target):
    """Compiles a target; returns its program."""
    sources = [os.path.join(ROOT, "Tests/Fuzz", f"{target}.swift")]
    for pattern in TARGETS[target][0]:
        found = sorted(glob.glob(os.path.join(ROOT, "Sources/ProxyCore", pattern)))
        if not found:
            sys.exit(f"{target}: no source is called {pattern}")
        sources += found
    program = os.path.join(WORK, target)
    # Optimised, with preconditions; lld, because gold writes a warning for each of the sanitizer's symbols.
    subprocess.run(
        ["swiftc", "-swift-version", "6", "-O", "-sanitize=fuzzer,address", "-parse-as-library", "-use-ld=lld",
         "-module-name", f"Fuzz{target}", "-o", program, "-I", WORK, os.path.join(WORK, "MeshModel.o"),
         *sources],
        check=True)
    return program


def run(target, program, seconds):
    """Runs a target; returns whether nothing was found."""
    found = os.path.join(WORK, "corpus", target)
    os.makedirs(found, exist_ok=True)
    seeds = os.path.join(ROOT, "Tests/Fuzz/corpus", target)
    crashes = os.path.join(WORK, f"{target}-")
    # libFuzzer reports crashes; Swift's own backtracer may wait for a terminal.
    environment = dict(os.environ, SWIFT_BACKTRACE="enable=no")
    symbolizer = shutil.which("llvm-symbolizer") or shutil.which("llvm-symbolizer-14")
    if symbolizer:
        environment["ASAN_SYMBOLIZER_PATH"] = symbolizer
    result = subprocess.run(
        [program, f"-max_total_time={seconds}", f"-max_len={TARGETS[target][1]}", "-timeout=5", "-rss_limit_mb=2048",
         "-print_final_stats=1", f"-artifact_prefix={crashes}", found, seeds],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    lines = result.stdout.splitlines()
    if result.returncode != 0:
        print("\n".join(lines[-60:]))
        return False
    executed = next((line.split()[-1] for line in lines if "number_of_executed_units" in line), "0")
    print(f"{target:12} {executed:>10} inputs in {seconds} s: nothing found", flush=True)
    return int(executed) > 0


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    targets = sys.argv[2:] or list(TARGETS)
    os.makedirs(WORK, exist_ok=True)
    build_model()
    failed = [target for target in targets if not run(target, build(target), seconds)]
    if failed:
        print(f"failed: {', '.join(failed)}; the inputs lie in {WORK}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
