#!/usr/bin/env python3
"""The tunnel stub with node proxies (a lab) and with the real Envoy, in both directions. Each line is checked.

Usage: stub_interop.py; needs root, the programs in $BIN, and PyPI the first time (Envoy, through benchmarks/peers.py).
"""
import os
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("../../benchmarks", "../Stub"):
    sys.path.insert(0, os.path.join(HERE, folder))
import common  # noqa: E402
import envoy_interop  # noqa: E402
from envoy_interop import ENVOY_ADDRESS, SEND, Interop, wait_for  # noqa: E402
import pods  # noqa: E402
import stub as bench  # noqa: E402
from test_stub import check  # noqa: E402


class StubInterop(Interop):
    """The stub stands in the pod `foreign`, under the address of the meshed pod `envoy` of a node without Weft."""

    def enter(self):
        return ["nsenter", f"--net={self.lab.netns('foreign')}", "--"]

    def start_stub(self):
        node = next(n for n in self.lab.state["nodes"] if n["name"] == "b")
        pod = self.lab.pod("foreign")
        common.run(["ip", "-n", pod["networkNamespace"], "address", "add", f"{ENVOY_ADDRESS}/32", "dev", "lo"])
        common.run(["ip", "-n", node["networkNamespace"], "route", "add", f"{ENVOY_ADDRESS}/32", "dev",
                    f"v{pod['index']}"])
        path = f"{self.run}/config/pod_interop_envoy.yaml"
        with open(path + ".new", "w") as file:
            file.write(envoy_interop.json.dumps(envoy_interop.FOREIGN_POD))
        os.rename(path + ".new", path)
        folder = self.issue("envoy", "stub")
        os.chmod(self.folder, 0o755)
        pods.Mesh.give(folder)
        common.run(self.enter() + [pods.program("weft-stub"), "init"])
        self.log = open(f"{self.folder}/stub.log", "w")
        self.stub = subprocess.Popen(
            self.enter() + ["setpriv", "--pdeathsig", "KILL", "--reuid", str(pods.USER), "--regid", str(pods.USER),
                            "--clear-groups", pods.program("weft-stub"), "run", "--pod", "interop/envoy", "--pod-ip",
                            ENVOY_ADDRESS, "--service-account", "envoy", "--control", self.control(),
                            "--certificate", f"{folder}/tls.pem", "--key", f"{folder}/key.pem", "--ca-file",
                            f"{folder}/ca.pem"], stdout=self.log, stderr=self.log)
        common.run(self.enter() + [pods.program("weft-stub"), "wait", "--timeout", "15"])

    def control(self):
        """As the lab's agents reach it."""
        with open(f"/proc/{self.lab.agent_pid('a')}/cmdline") as line:
            words = line.read().split("\0")
        return words[words.index("--control") + 1]

    def log_ends(self):
        said = super().log_ends()
        path = f"{self.folder}/stub.log"
        return said + ("\n" + open(path).read()[-3000:] if os.path.exists(path) else "")

    def with_node_proxies(self):
        self.start_stub()
        self.check("a stub joins a mesh of node proxies", self.stub.poll() is None)
        wait_for(lambda: [w for w in self.agent("a", "workloads")["workloads"] if w["uid"] == "interop/envoy"])
        status, said = self.send("client", ENVOY_ADDRESS, 8080)
        self.check("a node proxy's stream reaches the stub's pod, both ways, with half-close", status == 0, " ".join(said))
        several = [subprocess.Popen(self.pipe("client", ENVOY_ADDRESS, 8080, 300000), stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL) for _ in range(20)]
        self.check("twenty of them at once", all(process.wait(60) == 0 for process in several))
        server = self.lab.address("server")
        send = self.enter() + ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", sys.executable,
                               os.path.join(HERE, "pipe.py"), "send", server, "8080", str(SEND)]
        said = common.run(send).strip()
        self.check("a stream of the stub reaches a node proxy's pod, both ways, with half-close", True, said)
        status = envoy_interop.json.loads(common.run(self.enter() + [pods.program("weft-stub"), "status"]))
        self.check("both in tunnels", status["connections"]["tunnels_inbound"] >= 1
                   and status["connections"]["tunnels_outbound"] == 1, status["connections"].__repr__())
        self.stub.terminate()
        self.stub.wait(40)


def with_envoy():
    mesh = pods.Mesh(names=("a", "b"))
    try:
        for name in "ab":
            mesh.write_pod(name)
        mesh.write_service("web", "10.96.0.10", app="b")
        mesh.start_control()
        for name in "ab":
            mesh.issue(name, name)
            mesh[name].capture()
        mesh["b"].serve(8080)
        client, server = bench.envoys(mesh, "hbone")
        for what, envoys, stub in (("a stub's stream reaches Envoy's pod", [("b", server, 15008)], "a"),
                                   ("Envoy's stream reaches a stub's pod", [("a", client, 15001)], "b")):
            running = bench.Envoys.__new__(bench.Envoys)
            running.start(mesh, envoys, "interop")
            try:
                mesh[stub].start_stub()
                status, said = mesh["a"].app("send", "10.96.0.10", 80, SEND)
                check(f"{what}, both ways, with half-close", status == 0, said)
                connections = mesh[stub].status()["connections"]
                check("in a tunnel", connections["tunnels_inbound"] + connections["tunnels_outbound"] == 1)
            finally:
                running.stop()
                mesh[stub].end(mesh[stub].stub)
    finally:
        mesh.close()


def main():
    if os.geteuid() != 0:
        sys.exit("stub_interop: making namespaces needs root")
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        with_envoy()
    except (common.BenchError, pods.Failed) as error:
        sys.exit(f"stub_interop: {error}")
    with tempfile.TemporaryDirectory(prefix="weft-interop-") as folder:
        interop = StubInterop(folder)
        try:
            interop.lab.up()
            interop.with_node_proxies()
        except (common.BenchError, pods.Failed) as error:
            sys.exit(f"stub_interop: {error}\n{interop.log_ends()}")
        finally:
            if getattr(interop, "stub", None) and interop.stub.poll() is None:
                interop.stub.kill()
                interop.stub.wait()
            interop.lab.down()
    print("the stub, node proxies and Envoy understand each other")


if __name__ == "__main__":
    main()
