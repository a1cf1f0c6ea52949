#!/usr/bin/env python3
"""Builds the fuzz targets with libFuzzer and AddressSanitizer and runs each for some seconds.

    Tests/Fuzz/run.py [SECONDS [TARGET ...]]

A target is one Swift file here. It is compiled into one module with the sources that it tests, so it reaches what is
internal. Seeds lie in corpus/TARGET; what libFuzzer finds on the way stays in .build/fuzz, as do inputs that crash.
"""
import concurrent.futures, glob, os, shutil, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORK = os.path.join(ROOT, ".build/fuzz")
FUZZ = "Tests/Fuzz"
CORE = "Sources/ProxyCore"
# What targets import, each compiled into one object: its sources, and the flags that it needs.
MODULES = {
    "MeshModel": (["Sources/MeshModel/**/*.swift"], []),
    # The stand-in reports misuse by preconditions, and by rooms of the exact size to what writes into it.
    "NIOCore": ([f"{FUZZ}/NIOCore/*.swift"], ["-sanitize=address"]),
}
HTTP2 = [f"{CORE}/HTTP/HTTPHead.swift", f"{CORE}/HTTP2/HPACK/*.swift", f"{CORE}/HTTP2/MessageRules.swift",
         f"{CORE}/HTTP1/HTTPSyntax.swift"]
# Of each target: the sources that it tests, the modules that these import, and the longest input in bytes.
TARGETS = {
    "HTTP1": ([f"{CORE}/HTTP/HTTPHead.swift", f"{CORE}/HTTP1/*.swift"], [], 4096),
    "HTTP2": (HTTP2 + [f"{CORE}/HTTP2/{name}.swift" for name in ("FrameReader", "StreamTable", "HTTP2*")], ["NIOCore"], 4096),
    "HPACK": (HTTP2 + [f"{CORE}/HTTP2/HTTP2Frame.swift"], ["NIOCore"], 2048),
    "Sniffing": ([f"{CORE}/HTTP/HTTPHead.swift", f"{CORE}/Sniffing/*.swift"], ["MeshModel"], 1024),
    "DNS": ([f"{CORE}/DNS/DNS{name}.swift" for name in ("Bytes", "Constants", "Error", "Query", "ResponseWriter", "WireName")],
            ["MeshModel"], 1024),
}


def sources(name, patterns):
    """The files that these patterns mean, each of which has to mean one."""
    files = []
    for pattern in patterns:
        found = sorted(glob.glob(os.path.join(ROOT, pattern), recursive=True))
        if not found:
            sys.exit(f"{name}: there is no {pattern}")
        files += found
    return files


def compile(product, files, *flags):
    """Compiles files, unless the product is newer than all that it is made of: optimised, but with the assertions of a
    debug build, which check each access through a pointer to a buffer."""
    if os.path.exists(product) and all(os.path.getmtime(file) < os.path.getmtime(product) for file in files + [__file__]):
        return
    objects = [file for file in files if file.endswith(".o")]
    code = [file for file in files if file.endswith(".swift")]
    command = ["swiftc", "-swift-version", "6", "-O", "-assert-config", "Debug", "-wmo", "-parse-as-library", "-I", WORK,
               *flags, "-o", product, *objects, *code]
    if subprocess.run(command).returncode != 0:
        sys.exit(f"{os.path.basename(product)} does not compile")


def build_module(name):
    patterns, flags = MODULES[name]
    compile(os.path.join(WORK, f"{name}.o"), sources(name, patterns), *flags, "-module-name", name, "-emit-module",
            "-emit-module-path", os.path.join(WORK, f"{name}.swiftmodule"), "-emit-object")


def build(target):
    """Compiles a target; returns its program."""
    patterns, modules, _ = TARGETS[target]
    program = os.path.join(WORK, target)
    # lld, which is part of Swift's toolchain, because gold writes a warning for each of the sanitizer's symbols.
    compile(program, [os.path.join(WORK, f"{module}.o") for module in modules]
            + sources(target, [f"{FUZZ}/{target}.swift", *patterns]),
            "-sanitize=fuzzer,address", "-use-ld=lld", "-module-name", f"Fuzz{target}")
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
        [program, f"-max_total_time={seconds}", f"-max_len={TARGETS[target][2]}", "-timeout=25", "-rss_limit_mb=2048",
         "-print_final_stats=1", f"-artifact_prefix={crashes}", found, seeds],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    lines = result.stdout.splitlines()
    if result.returncode != 0:
        # Without those of progress.
        print("\n".join(line for line in lines if not line.startswith(("#", "\tNEW_FUNC")))[-10_000:])
        return False
    executed = next((int(line.split()[-1]) for line in lines if "number_of_executed_units" in line), 0)
    print(f"{target:12} {executed:>10} inputs in {seconds} s: {'nothing found' if executed else 'NONE'}", flush=True)
    return executed > 0


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    targets = sys.argv[2:] or list(TARGETS)
    unknown = set(targets) - set(TARGETS)
    if unknown:
        sys.exit(f"no target is called {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    os.makedirs(WORK, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(build_module, {module for target in targets for module in TARGETS[target][1]}))
        programs = list(pool.map(build, targets))
    failed = [target for target, program in zip(targets, programs) if not run(target, program, seconds)]
    if failed:
        print(f"failed: {', '.join(failed)}; the inputs lie in {WORK}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
