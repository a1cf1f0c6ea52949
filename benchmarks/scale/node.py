"""A real weft-agent with its proxy, in a cgroup of its own.

As a program, with the agent's folder: reads lines of SERVICE WORKLOAD 0|1 and answers each with the monotonic time, in seconds, at
which the proxy sends to that workload (1) or doesn't (0). A process of its own: the threads of the bench are many.
"""
import json, os, socket, subprocess, sys, time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from common import BenchError, program

TOKEN = "a-token-of-sixteen-bytes"


def cgroup_root():
    with open("/proc/mounts") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[2] == "cgroup2":
                return fields[1]
    raise BenchError("no cgroup v2 is mounted: `mount -t cgroup2 none /sys/fs/cgroup/unified`")


def secret(path, text):
    with open(path, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(text)


class NodeAgent:
    """`folder` is a temporary one of this node alone; what the agent makes outside of it is named after it."""

    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        self.environment = dict(os.environ)
        self.cgroup = f"{cgroup_root()}/{os.path.basename(folder)}"
        self.process = None

    def start(self, discovery, join, roots):
        for name in ("", "/agent"):
            os.mkdir(self.cgroup + name)
        secret(f"{self.folder}/token", f"{TOKEN}\n")
        with open(f"{self.folder}/weft-agent.log", "w") as log:
            self.process = subprocess.Popen(
                [program("weft-agent"), "--node", self.name, "--control", f"127.0.0.1:{discovery}", "--join", f"127.0.0.1:{join}",
                    "--join-token-file", f"{self.folder}/token", "--ca-file", roots, "--state-dir", f"{self.folder}/agent",
                    "--run-dir", f"{self.folder}/run", "--cgroup-pods", "--cgroup-root", self.cgroup, "--cgroup", f"{self.cgroup}/agent",
                    "--bpffs", f"/sys/fs/bpf/{os.path.basename(self.folder)}", "--pod-logs", ""],
                stdout=log, stderr=log, env=self.environment)
        return self.process

    def log(self):
        with open(f"{self.folder}/weft-agent.log") as file:
            return file.read()

    def ask(self, path):
        """The agent's answer on its admin socket; None: it isn't there yet, or can't say."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(f"{self.folder}/run/agent.sock")
                client.sendall(f"GET {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n".encode())
                answer = b""
                while more := client.recv(65536):
                    answer += more
        except OSError:
            return None
        head, _, body = answer.partition(b"\r\n\r\n")
        return json.loads(body) if head.split(b" ")[1:2] == [b"200"] else None

    def sends(self, service, workload):
        """Whether the proxy sends to that workload of that Service (each NAMESPACE/NAME); None: it doesn't answer."""
        answer = self.ask(f"/v1/endpoints/{service}")
        return None if answer is None else any(entry["ready"] for entry in answer["endpoints"] if entry["workload"] == workload)

    def end(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for folder, _, _ in os.walk(self.cgroup, topdown=False):
            for _ in range(100):
                try:
                    os.rmdir(folder)
                    break
                except OSError:
                    time.sleep(0.02)


def main():
    node = NodeAgent("", sys.argv[1])
    for line in sys.stdin:
        service, workload, wanted = line.split()
        end = time.monotonic() + 10
        while node.sends(service, workload) is not (wanted == "1") and time.monotonic() < end:
            time.sleep(0.0005)
        now = time.monotonic()
        print(now if now < end else "never", flush=True)


if __name__ == "__main__":
    main()
