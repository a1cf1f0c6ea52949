#!/usr/bin/env python3
"""Measures weft-control in a large cluster: 10,000 Services, 500 namespaces, 1,000 Nodes and 1,000 routes in a real API server,
100,000 Pods with their EndpointSlices from a recorded stream before it (api.py), which goes through the same decoder; 100 agents
connected by gRPC, and a real one with its proxy.

Usage: scale.py [--agents N] [--changes N]. Writes the part "control_plane" of ../scale.json. Needs weft-control, weft-agent and
weft-proxy in $BIN, `make deps-kubernetes`, the Python package grpcio, and root.
"""
import argparse, os, shutil, socket, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
from common import BenchError, program
import api, world
from figures import cpu_seconds, free_port, memory, percentile, write
from node import TOKEN, NodeAgent, secret
try:
    import agents
except ImportError:
    sys.exit("scale.py: the Python package grpcio isn't installed: pip install grpcio")

GOALS = {"resident_mb": 1024, "ready_s": 60, "change_p99_ms": 50, "in_force_p99_ms": 50}
# The node of the real agent; the others are the next ones.
REAL = "node-0000"


class Run:
    def __init__(self, options):
        self.options = options
        self.folder = tempfile.mkdtemp(prefix="weft-scale-")
        self.ports = (free_port(), free_port())
        self.waiting, self.lock, self.done = None, threading.Lock(), threading.Event()
        self.clients, self.control, self.watcher = [], None, None
        self.api = api.ScaleAPI()
        self.node = NodeAgent(REAL, self.folder)

    def start(self):
        objects, seconds = self.api.create()
        print(f"the API server holds {objects} objects after {seconds:.0f} s", flush=True)
        secret(f"{self.folder}/tokens", f"{REAL} {TOKEN}\n")
        self.control = subprocess.Popen([program("weft-control"), "--kubeconfig", self.api.cluster.kubeconfig(server=self.api.url), "--state-dir", f"{self.folder}/state",
            "--join-tokens", f"{self.folder}/tokens", "--listen", "127.0.0.1", "--advertise", "127.0.0.1", "--discovery-port", str(self.ports[0]),
            "--join-port", str(self.ports[1]), "--webhook-port", str(free_port()), "--pod-name", "one", "--health-port", str(free_port()), "--log-level", "warning"], stdout=sys.stderr, stderr=sys.stderr)
        began = time.monotonic()
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.ports[0])) == 0:
                    return time.monotonic() - began
            if self.control.poll() is not None or time.monotonic() > began + 600:
                raise BenchError("weft-control doesn't serve: see its log above")
            time.sleep(0.05)

    def connect(self):
        """Until every agent has everything: (seconds, resources of one, bytes of one)."""
        began = time.monotonic()
        # For the certificates of agents, which no account's token is there for.
        os.mkdir(f"{self.folder}/authority", 0o700)
        for name, content in self.api.authority().items():
            with open(f"{self.folder}/authority/{name}", "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(content)
        self.node.start(self.ports[0], self.ports[1], f"{self.folder}/authority/ca.pem")
        for index in range(1, self.options.agents + 1):
            node = f"node-{index:04}"
            folder = f"{self.folder}/{node}"
            agents.certify(program("weft-control"), f"{self.folder}/authority", node, folder)
            client = agents.Agent(node, f"127.0.0.1:{self.ports[0]}", folder, self.seen)
            self.clients.append(client)
            # One after the other: reading it all in Python is what takes the time.
            expected = world.PODS + world.SERVICES + world.ROUTES + 1
            end = time.monotonic() + 60
            while client.count < expected:
                if time.monotonic() > end:
                    raise BenchError(f"the agent of {node} has {client.count} of {expected} resources after 60 s")
                time.sleep(0.02)
        while not self.node.sends(*self.place(world.PODS - 1)):
            if time.monotonic() > end + 60:
                raise BenchError(f"the real agent's proxy has no endpoints: {self.node.log()[-2000:]}")
            time.sleep(0.1)
        return time.monotonic() - began, self.clients[0].count, self.clients[0].bytes

    def statuses(self):
        """Waits until every route says that it is in force: seconds."""
        began, told = time.monotonic(), (0, 0)
        while told != (world.ROUTES, world.ROUTES):
            if time.monotonic() > began + 120:
                raise BenchError(f"of {world.ROUTES} routes {told[0]} have a status, {told[1]} are in force")
            time.sleep(1)
            told = self.api.routes_with_status()
        return time.monotonic() - began

    def place(self, index):
        """(Service, workload) of a pod."""
        service = index // world.PODS_OF_A_SERVICE
        return f"{world.namespace_of(service)}/svc-{service:05}", f"{world.namespace_of(service)}/{world.pod_name(index)}"

    def seen(self, client, message, arrived):
        waiting = self.waiting
        if waiting and waiting["name"] in message and client.node not in waiting["arrived"]:
            with self.lock:
                waiting["arrived"][client.node] = arrived
                if len(waiting["arrived"]) == len(self.clients):
                    self.done.set()

    def change(self, turn):
        """One endpoint becomes unready, or ready again: (milliseconds of each agent and of the real one's proxy, bytes of all)."""
        index = (turn // 2 * 7919) % world.PODS
        is_ready = turn % 2 == 1
        before = sum(client.bytes for client in self.clients)
        self.done.clear()
        self.waiting = {"name": world.pod_name(index).encode(), "arrived": {}}
        self.watcher.stdin.write(f"{' '.join(self.place(index))} {int(is_ready)}\n")
        self.watcher.stdin.flush()
        told = time.monotonic()
        self.api.tell("/api/v1/pods", world.pod(index, 2_000_000 + 2 * turn, is_ready))
        self.api.tell(world.SLICES, world.slice_(index // world.PODS_OF_A_SERVICE, () if is_ready else (index,), 2_000_001 + 2 * turn))
        at = self.watcher.stdout.readline().strip()
        if at == "never":
            raise BenchError("the real agent's proxy wasn't told of a change within 10 s")
        in_force = 1000 * (float(at) - told)
        if not self.done.wait(10):
            raise BenchError(f"only {len(self.waiting['arrived'])} of {len(self.clients)} agents were told of a change within 10 s")
        times = [1000 * (at - told) for at in self.waiting["arrived"].values()]
        time.sleep(0.1)
        self.waiting = None
        return times, in_force, sum(client.bytes for client in self.clients) - before

    def measure(self):
        ready = self.start()
        at_rest = memory(self.control.pid), memory(self.control.pid, "VmHWM"), cpu_seconds(self.control.pid)
        print(f"ready after {ready:.1f} s; {at_rest[0]} MB resident, at most {at_rest[1]} MB; {at_rest[2]:.1f} s of CPU", flush=True)
        seconds, count, size = self.connect()
        connected = memory(self.control.pid), memory(self.control.pid, "VmHWM")
        print(f"{len(self.clients)} agents have {count} resources ({size / 1e6:.1f} MB each) after {seconds:.1f} s; {connected[0]} MB resident", flush=True)
        self.watcher = subprocess.Popen([sys.executable, f"{HERE}/node.py", self.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        statuses = self.statuses()
        print(f"the statuses of all routes are written {statuses:.0f} s later", flush=True)
        times, in_force, sizes = [], [], []
        for turn in range(self.options.changes):
            taken, real, sent = self.change(turn)
            times += taken
            in_force.append(real)
            if max(taken) > GOALS["change_p99_ms"]:
                print(f"change {turn}: {min(taken):.1f} to {max(taken):.1f} ms", flush=True)
            sizes.append(sent / len(self.clients))
        result = {"services": world.SERVICES, "pods": world.PODS, "namespaces": world.NAMESPACES, "routes": world.ROUTES,
            "agents": len(self.clients), "listed_mb": round(self.api.bytes / 1e6, 1), "ready_s": round(ready, 2), "ready_cpu_s": round(at_rest[2], 2),
            "resident_mb": max(connected[0], memory(self.control.pid)), "peak_mb": memory(self.control.pid, "VmHWM"), "resources_of_an_agent": count, "bytes_of_an_agent": size,
            "all_agents_told_s": round(seconds, 2), "changes": self.options.changes, "change_p50_ms": round(percentile(times, 0.5), 2),
            "change_p99_ms": round(percentile(times, 0.99), 2), "in_force_p50_ms": round(percentile(in_force, 0.5), 2),
            "in_force_p99_ms": round(percentile(in_force, 0.99), 2), "real_agent_mb": memory(self.node.process.pid), "statuses_s": round(statuses, 1),
            "change_bytes_of_an_agent": round(sum(sizes) / len(sizes)), "goals": GOALS}
        return result

    def end(self):
        for client in self.clients:
            client.end()
        if self.watcher:
            # It ends with its input.
            self.watcher.stdin.close()
            self.watcher.wait()
        self.node.end()
        if self.control:
            self.control.terminate()
            try:
                self.control.wait(20)
            except subprocess.TimeoutExpired:
                self.control.kill()
                self.control.wait()
        self.api.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description="Measures weft-control in a large cluster.")
    parser.add_argument("--agents", type=int, default=100, help="agents connected (default: 100)")
    parser.add_argument("--changes", type=int, default=200, help="changes of one endpoint (default: 200)")
    options = parser.parse_args()
    if not 1 <= options.agents <= world.NODES or options.changes < 1:
        parser.error(f"--agents takes 1 to {world.NODES}, --changes at least 1")
    run = Run(options)
    try:
        result = run.measure()
    finally:
        run.end()
    write("control_plane", result)


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"scale.py: {error}")
