#!/usr/bin/env python3
"""Rollouts on a real API server with the lab's nodes: nothing is lost while a Deployment, or every agent and proxy, is
replaced, and an upgrade that dies in the middle can be uninstalled.

Usage: test_rollout.py PATH-TO-weft-control, with the other programs beside it.
"""
import os, subprocess, sys, unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
os.environ["BIN"] = os.path.dirname(os.path.abspath(sys.argv.pop(1))) if len(sys.argv) > 1 else os.path.join(ROOT, ".build/debug")
sys.path[:0] = [os.path.join(ROOT, "benchmarks/scale"), os.path.join(ROOT, "demo")]
import kubernetes, rollouts
from lab import BIN, wait_for

# A connection that is never idle, for so many seconds at least and until the file /told is there; the other end of it.
HELD = """
import os, socket, sys, time
peer = socket.create_connection((sys.argv[1], 9000), 10)
began = time.monotonic()
for turn in range(1500):
    peer.sendall(b"x")
    if peer.recv(1) != b"x": sys.exit("ended")
    if not turn: print("begun", flush=True)
    if os.path.exists("/told") and time.monotonic() > began + float(sys.argv[2]): break
    time.sleep(0.2)
print("held")
"""
ECHO = """
import socket
listener = socket.create_server(("", 9000))
while True:
    peer, _ = listener.accept()
    while data := peer.recv(4096): peer.sendall(data)
"""
# One that waits for its client's next request: says when it was ended, and that it was in good order.
IDLE = """
import http.client, time
connection = http.client.HTTPConnection("web", timeout=200)
connection.request("GET", "/")
connection.getresponse().read()
began = time.monotonic()
print("begun", flush=True)
assert connection.sock.recv(1) == b""
print(int(time.monotonic() - began))
"""
# Longer than a proxy had to finish before this was a setting.
SECONDS = 40
REQUESTS = int(os.environ.get("WEFT_ROLLOUT_REQUESTS", "10000"))


class Rollout(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = kubernetes.Cluster.of(cls, "rollout")
        kubernetes.begin(cls.cluster)

    def nothing_is_lost(self, result):
        self.assertGreaterEqual(result["requests"], REQUESTS)
        self.assertEqual(result["failed"], 0, result)

    def test_1_no_request_is_lost_while_a_deployment_is_replaced(self):
        self.nothing_is_lost(rollouts.of_a_deployment(self.cluster, REQUESTS))

    def test_2_no_request_is_lost_while_agents_and_proxies_are_replaced(self):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "echo", "namespace": "shop", "labels": {"app": "echo"}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "echo", "image": "example.org/client", "command": ["python3", "-c", ECHO]}]}}
        self.cluster.apply_objects(pod)
        self.cluster.kubectl("wait", "-n", "shop", "pod/echo", "--for=condition=Ready", "--timeout=30s", timeout=40)
        address = self.cluster.kubectl("get", "-n", "shop", "pod/echo", "-o", "jsonpath={.status.podIP}")
        self.addCleanup(self.cluster.kubectl, "delete", "-n", "shop", "pod/echo", "--ignore-not-found", timeout=30)
        client = self.cluster.pod("client")
        held, idle = (self.begun(client, *what) for what in ((HELD, address, str(SECONDS)), (IDLE,)))
        result = rollouts.of_the_agents(self.cluster, REQUESTS)
        self.assertGreaterEqual(result["proxies_replaced"], 4)
        self.nothing_is_lost(result)
        self.cluster.exec(client, "touch", "/told")
        self.assertEqual(held.communicate(timeout=120)[0].strip(), "held")
        seconds = int(idle.communicate(timeout=230)[0])
        self.assertTrue(30 <= seconds <= 200, seconds)

    def begun(self, client, program, *arguments):
        """The program, running in the client's pod, once it has said that it has begun; ended with the test."""
        process = self.cluster.popen(client, "python3", "-c", program, *arguments)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline().strip(), "begun")
        return process

    def test_3_agents_move_when_their_replica_is_gone(self):
        self.cluster.weft_cli("upgrade", "--overlay", "standard", timeout=180)
        replicas = lambda: self.cluster.kubectl("get", "pods", "-n", "weft-system", "-l", "app.kubernetes.io/name=weft-control", "-o", "jsonpath={.items[*].metadata.name}").split()
        connected = lambda: [answer["control"]["since"] for answer in self.cluster.answers("status") if answer["control"]["connected"]]
        wait_for("two replicas, and both agents at one", lambda: len(replicas()) == 2 and len(connected()) == 2, 30)
        before, deployed = connected(), replicas()
        for index, name in enumerate(deployed):
            self.cluster.kubectl("delete", "pod", "-n", "weft-system", name, "--grace-period=0", "--force", timeout=60)
            wait_for("both agents to be connected", lambda: len(connected()) == 2, 30)
            # What is new reaches them.
            self.cluster.kubectl("set", "env", "-n", "shop", "deployment/web-v2", f"MOVED={index}")
            self.cluster.kubectl("rollout", "status", "-n", "shop", "deployment/web-v2", "--timeout=60s", timeout=70)
            wait_for("the new pod to be enrolled", lambda: sum(entry["state"] == "enrolled" for answer in self.cluster.answers("workloads")
                for entry in answer["workloads"] if entry["name"].startswith("web-v2")) == 1, 30)
            self.cluster.kubectl("rollout", "status", "-n", "weft-system", "deployment/weft-control", "--timeout=60s", timeout=70)
        self.assertFalse(set(before) & set(connected()), "each has moved once at least")

    def test_4_an_upgrade_that_dies_in_the_middle_is_uninstalled(self):
        agents = lambda: self.cluster.kubectl("get", "pods", "-n", "weft-system", "-l", "app.kubernetes.io/name=weft-agent", "-o", "jsonpath={.items[*].metadata.uid}").split()
        before = set(agents())
        upgrade = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/weft-{self.cluster.name}", f"{BIN}/weft", "upgrade", "--overlay", "small", "--set", "log.level=debug",
             "--kubeconfig", f"{self.cluster.folder}/kubeconfig"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("the first agent to be replaced", lambda: set(agents()) - before, 60)
        upgrade.kill()
        upgrade.wait()
        kubernetes.uninstall(self.cluster, kubernetes.commands()[-1])
        # What the mesh carried goes on without it.
        names, good = self.cluster.names(self.cluster.pod("client"), 20)
        self.assertEqual(good, 20, names)


if __name__ == "__main__":
    unittest.main(verbosity=2)
