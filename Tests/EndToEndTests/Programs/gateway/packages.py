"""Where grpcio is: from PyPI in the ignored folder where the benchmarks keep theirs. As a program: installs it, once."""
import os, subprocess, sys

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), *[".."] * 4))
FOLDER = os.path.join(ROOT, "benchmarks/work/python")
PACKAGE = "grpcio==1.85.3"
sys.path.insert(0, FOLDER)

if __name__ == "__main__" and not os.path.isdir(os.path.join(FOLDER, PACKAGE.replace("==", "-") + ".dist-info")):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--root-user-action=ignore", "--target"]
    sys.exit(subprocess.run([*pip, FOLDER, PACKAGE]).returncode)
