"""Where grpcio is: a folder beside what SwiftPM builds. As a program: installs it there from PyPI, once."""
import os, shutil, subprocess, sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.realpath(__file__)), *[".."] * 4))
FOLDER = os.path.join(ROOT, ".build", f"python-grpc-{sys.version_info.major}.{sys.version_info.minor}")
sys.path.insert(0, FOLDER)

if __name__ == "__main__" and not os.path.exists(FOLDER):
    new = f"{FOLDER}.{os.getpid()}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--root-user-action=ignore", "--target", new]
    status = subprocess.run([*pip, "grpcio==1.74.0"]).returncode
    if status == 0:
        os.rename(new, FOLDER)
    else:
        shutil.rmtree(new, ignore_errors=True)
    sys.exit(status)
