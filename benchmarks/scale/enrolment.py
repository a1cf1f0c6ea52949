#!/usr/bin/env python3
"""Measures how long pods that start at once take until their connections are captured, and what the agent weighs then.

Each pod is a process in a network namespace of its own that, on a common signal, makes the pod's cgroup as a kubelet does and
enters it. Measured from that moment, on the machine's clock, to the agent's "pod enrolled". Agent, proxy, control plane and
eBPF programs are the real ones; all of it lives in namespaces and a cgroup that are removed at the end.

Usage: enrolment.py [--pods N] [--rounds N]. Writes the part "enrolment" of ../scale.json. Needs weft-agent, weft-proxy and
weft-control in $BIN.
"""
import argparse, ctypes, datetime, json, os, shutil, signal, socket, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
from common import BenchError, program
from figures import free_port, memory, percentile, write
from node import TOKEN, NodeAgent, secret

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
GOALS = {"p99_ms": 100, "agent_resident_mb": 40}
NODE = "bench-node"


def pod_uid(index):
    return f"00000000-1111-2222-3333-{index:012x}"


def manifests(count):
    """The namespace and its pods, as the control plane is told them."""
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench", "labels": {"weft.dev/mesh": "enabled"}}}
    for index in range(count):
        address = f"10.20.{index // 250}.{index % 250 + 1}"
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "bench", "name": f"p{index}", "uid": pod_uid(index)},
            "spec": {"nodeName": NODE, "serviceAccountName": f"account-{index % 10}", "containers": [{"name": "app", "image": "app"}]},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
                "conditions": [{"type": "Ready", "status": "True"}]}}


class Pod:
    """A process that waits in its namespace, and becomes a pod when it is told."""

    def __init__(self, index, folder, gate):
        self.path = f"{folder}/kubepods/burstable/pod{pod_uid(index)}"
        self.container = f"{self.path}/{index:064x}"
        self.reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.reading)
                if LIBC.unshare(CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "unshare")
                address = f"10.20.{index // 250}.{index % 250 + 1}/32"
                subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
                subprocess.run(["ip", "address", "add", address, "dev", "lo"], check=True)
                os.write(writing, b"ready\n")
                os.read(gate, 1)
                began = time.clock_gettime(time.CLOCK_REALTIME)
                os.mkdir(self.path)
                os.mkdir(self.container)
                with open(f"{self.container}/cgroup.procs", "w") as procs:
                    procs.write(str(os.getpid()))
                os.write(writing, f"{began:.6f}\n".encode())
                signal.pause()
            finally:
                os._exit(1)
        os.close(writing)
        if os.read(self.reading, 64) != b"ready\n":
            raise BenchError(f"pod {index}'s namespace couldn't be made: run as root, with iproute2 (`make deps`)")

    def began(self):
        return float(os.read(self.reading, 64))

    def stop(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.reading)
        for folder in (self.container, self.path):
            for _ in range(100):
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    pass
                except OSError:
                    time.sleep(0.01)
                    continue
                break


class Node:
    def __init__(self, count):
        self.count = count
        self.folder = tempfile.mkdtemp(prefix="weft-enrolment-")
        self.agent = NodeAgent(NODE, self.folder)
        self.cgroup = self.agent.cgroup
        self.pods, self.programs = [], []

    def start(self):
        os.makedirs(f"{self.folder}/mesh")
        with open(f"{self.folder}/mesh/pods.yaml", "w") as file:
            file.write("\n---\n".join(json.dumps(manifest) for manifest in manifests(self.count)))
        secret(f"{self.folder}/tokens", f"{NODE} {TOKEN}\n")
        discovery, join = free_port(), free_port()
        self.run("weft-control", "--config", f"{self.folder}/mesh", "--state-dir", f"{self.folder}/control", "--join-tokens", f"{self.folder}/tokens",
            "--listen", "127.0.0.1", "--advertise", "127.0.0.1", "--discovery-port", str(discovery), "--join-port", str(join))
        self.wait("weft-control", lambda: os.path.exists(f"{self.folder}/control/ca.pem") and self.answers(join))
        self.programs.append(self.agent.start(discovery, join, f"{self.folder}/control/ca.pem"))
        for name in ("/kubepods", "/kubepods/burstable"):
            os.mkdir(self.cgroup + name)

    def run(self, name, *arguments):
        with open(f"{self.folder}/{name}.log", "w") as log:
            process = subprocess.Popen([program(name), *arguments], stdout=log, stderr=log)
        self.programs.append(process)
        return process

    def answers(self, port):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def log(self, name):
        with open(f"{self.folder}/{name}.log") as file:
            return file.read()

    def wait(self, name, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            if any(process.poll() is not None for process in self.programs) or time.monotonic() > end:
                raise BenchError(f"{name} isn't there after {seconds} s: {self.log(name)[-3000:]}")
            time.sleep(0.02)

    def enrolled(self):
        """Pod's name -> when its connections were captured: seconds of the wall clock."""
        times = {}
        for line in self.log("weft-agent").splitlines():
            if "pod enrolled" in line:
                entry = json.loads(line)
                times[entry["pod"].partition("/")[2]] = datetime.datetime.fromisoformat(entry["time"].replace("Z", "+00:00")).timestamp()
        return times

    def measure(self):
        """(milliseconds of each pod, the agent's megabytes)."""
        self.wait("weft-agent", lambda: len((self.agent.ask("/v1/workloads") or {"workloads": []})["workloads"]) == self.count)
        # Its certificates are there before its pods are: time for them, as between scheduling and the sandbox.
        time.sleep(3)
        gate, opening = os.pipe()
        for index in range(self.count):
            self.pods.append(Pod(index, self.cgroup, gate))
        os.write(opening, b"g" * self.count)
        began = {f"p{index}": pod.began() for index, pod in enumerate(self.pods)}
        os.close(gate)
        os.close(opening)
        self.wait("weft-agent", lambda: len(self.enrolled()) == self.count)
        enrolled = self.enrolled()
        time.sleep(3)
        return [1000 * (enrolled[name] - at) for name, at in began.items()], memory(self.agent.process.pid)

    def end(self):
        for pod in self.pods:
            pod.stop()
        self.agent.end()
        for process in self.programs:
            process.terminate()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def once(count):
    node = Node(count)
    try:
        node.start()
        return node.measure()
    finally:
        node.end()


def main():
    parser = argparse.ArgumentParser(description="Measures the enrolment of pods that start at once.")
    parser.add_argument("--pods", type=int, default=50, help="pods started at once, 1 to 1000 (default: 50)")
    parser.add_argument("--rounds", type=int, default=5, help="each on a node made anew (default: 5)")
    options = parser.parse_args()
    if not 1 <= options.pods <= 1000 or options.rounds < 1:
        parser.error("--pods takes 1 to 1000, --rounds at least 1")
    result = {}
    for count in (options.pods, 250):
        times, resident = [], 0
        for _ in range(options.rounds if count == options.pods else 1):
            taken, megabytes = once(count)
            print(f"{count} pods at once: p50 {percentile(taken, 0.5):.1f} ms, p99 {percentile(taken, 0.99):.1f} ms, at most {max(taken):.1f} ms; agent {megabytes} MB", flush=True)
            times += taken
            resident = max(resident, megabytes)
        result[f"{count}_pods"] = {"p50_ms": round(percentile(times, 0.5), 1), "p99_ms": round(percentile(times, 0.99), 1),
            "max_ms": round(max(times), 1), "agent_resident_mb": resident}
        if count == options.pods:
            # They are for no more at once.
            result[f"{count}_pods"]["goals"] = GOALS
    write("enrolment", result)


def alone():
    """Starts this program anew in namespaces of its own: nothing of it is seen outside, and nothing is in its way."""
    if os.environ.get("WEFT_ALONE") != "1":
        os.environ["WEFT_ALONE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv])


if __name__ == "__main__":
    alone()
    try:
        main()
    except BenchError as error:
        sys.exit(f"enrolment.py: {error}")
