"""Python packages that the tests speak to the mesh with, from PyPI into the ignored folder where the benchmarks keep
theirs: `packages.py` as a program, once, and whoever uses them imports this module first."""
import os, subprocess, sys

FOLDER = os.path.normpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../../benchmarks/work/python"))
PACKAGES = ["grpcio==1.85.3", "websockets==17.4", "cel_python==0.5.0"]
sys.path.insert(0, FOLDER)

if __name__ == "__main__":
    wanted = [package.replace("==", "-") + ".dist-info" for package in PACKAGES]
    if not all(os.path.isdir(os.path.join(FOLDER, name)) for name in wanted):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--root-user-action=ignore", "--no-warn-conflicts", "--target"]
        sys.exit(subprocess.run(pip + [FOLDER] + PACKAGES).returncode)
