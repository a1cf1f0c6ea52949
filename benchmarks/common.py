"""Places, cores and the one kind of error that ends a run."""
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = os.path.join(HERE, "work")
PROGRAMS = os.environ.get("BIN") or os.path.join(HERE, "..", ".build-release", "release")

LOAD_CORE = 0
"""Load generator and backend."""
PROXY_CORE = min(1, (os.cpu_count() or 1) - 1)
"""Every proxy, agent and control plane."""


class BenchError(Exception):
    """What went wrong, where, and what to do, as a sentence."""


def program(name):
    path = os.path.abspath(os.path.join(PROGRAMS, name))
    if not os.access(path, os.X_OK):
        raise BenchError(f"{path} isn't there: `make build` makes it, or BIN names another folder")
    return path


def run(argv, timeout=60, **options):
    """The standard output of a command that must succeed."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, **options)
    except FileNotFoundError:
        raise BenchError(f"{argv[0]} isn't installed: `make deps` installs it") from None
    except subprocess.TimeoutExpired:
        raise BenchError(f"`{' '.join(argv)}` didn't end in {timeout} s") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise BenchError(f"`{' '.join(argv)}` failed ({done.returncode}): {said}")
    return done.stdout
