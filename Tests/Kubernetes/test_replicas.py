#!/usr/bin/env python3
"""Replicas: agents of one serve themselves from another, and nothing is sent twice.

Usage: test_replicas.py PATH-TO-weft-control; the API server is build.sh's. Needs grpcio.
"""
import os, signal, socket, sys, time, unittest
from agent import Agent, TYPES, pem, request
from cluster import Cluster
from control import Control
from faults import Faults

CONTROL = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "weft-control"
WORKLOAD, SERVICE = TYPES[4], TYPES[3]
TOKENS = {"one": "secret-of-node-one", "two": "secret-of-node-two"}


class Replicas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.__exit__)
        cls.cluster.allow_control()
        cls.cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": "shop", "labels": {"weft.dev/mesh": "enabled"}}})
        for index in range(20):
            cls.pod(f"web-{index}", f"10.1.0.{index + 1}", list(TOKENS)[index % 2])
        cls.cluster.call("POST", "/api/v1/namespaces/shop/services", {
            "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]}})
        cls.faults = Faults(cls.cluster)
        cls.addClassCleanup(cls.faults.stop)

    @classmethod
    def pod(cls, name, address, node):
        cls.cluster.call("POST", "/api/v1/namespaces/shop/pods", {"metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}})
        cls.cluster.call("PATCH", f"/api/v1/namespaces/shop/pods/{name}/status", {"status": {"phase": "Running", "podIP": address}},
            "application/merge-patch+json")

    def start(self, name):
        tokens = f"{self.cluster.folder}/tokens"
        with open(tokens, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.writelines(f"{node} {token}\n" for node, token in TOKENS.items())
        control = Control(CONTROL, self.cluster, name, self.faults.url, ["--join-tokens", tokens, "--advertise", "weft-control"])
        self.addCleanup(control.end)
        return control

    def join(self, control, node="one"):
        """An agent with the certificate of a node, by whichever replica."""
        identity = f"spiffe://cluster.local/node/{node}"
        key, wanted = request(identity)
        status, message, certificate = control.join(TOKENS[node], identity, node, wanted)
        self.assertEqual(status, 0, message)
        roots = control.wait("the roots", lambda: self.cluster.exists("/api/v1/namespaces/weft-system/configmaps/weft-roots"))
        return Agent(node, key, pem(certificate), roots["data"]["ca.pem"].encode())

    def connect(self, agent, control):
        agent.connect(control.ports["discovery"])
        self.addCleanup(agent.close)
        # Every type is answered, be it by nothing.
        return agent.wait(lambda agent: len(agent.answered) == len(TYPES), "all types")

    @staticmethod
    def pods(agent):
        return sum(name.startswith("shop/") for name in agent.state[WORKLOAD])

    def test_an_agent_that_moves_is_sent_nothing_that_it_has(self):
        one, two = (self.start(name).ready() for name in ("one", "two"))
        agent = self.connect(self.join(one), one)
        self.assertEqual(self.pods(agent), 20)
        first = agent.received
        self.assertGreater(first, 0)
        agent.close()
        # With the certificate of one replica to another, with the versions of one to the other.
        self.connect(agent, two)
        self.assertEqual(agent.received, 0)
        self.assertEqual(self.pods(agent), 20)
        # What changes meanwhile is sent, and no more.
        agent.close()
        self.pod("late", "10.1.0.99", "two")
        one.wait("the pod", lambda: '"late"' in one.status())
        self.connect(agent, one)
        agent.wait(lambda agent: "shop/late" in agent.state[WORKLOAD], "the new pod")
        self.assertLess(agent.received, first / 5)
        self.cluster.call("DELETE", "/api/v1/namespaces/shop/pods/late?gracePeriodSeconds=0")
        agent.wait(lambda agent: "shop/late" not in agent.state[WORKLOAD], "its end")

    def test_a_replica_that_starts_from_nothing_has_the_same_versions(self):
        one = self.start("one").ready()
        agent = self.connect(self.join(one, "two"), one)
        before = {url: dict(names) for url, names in agent.state.items()}
        one.end(signal.SIGKILL)
        three = self.start("three").ready()
        self.connect(agent, three)
        self.assertEqual((agent.received, agent.state), (0, before))

    def test_a_replica_that_ends_lets_its_agents_go_first(self):
        one, two = (self.start(name).ready() for name in ("one", "two"))
        agent = self.connect(self.join(one), one)
        began = time.monotonic()
        one.process.send_signal(signal.SIGTERM)
        agent.thread.join(5)
        self.assertFalse(agent.thread.is_alive())
        # Not asked for any more, while it is still there.
        self.assertIn(one.probe("ready"), (503, None))
        one.end()
        self.assertLess(time.monotonic() - began, 8)
        agent.close()
        self.connect(agent, two)
        self.assertEqual(agent.received, 0)

    def test_a_replica_that_does_not_know_everything_serves_nobody(self):
        self.faults.rules = [("GET", "^/api/v1/pods", 500)]
        try:
            control = self.start("one")
            control.wait("its life", lambda: control.probe("live") == 200)
            time.sleep(3)
            self.assertEqual(control.probe("ready"), 503)
            for port in ("discovery", "join"):
                with socket.socket() as probe:
                    self.assertNotEqual(probe.connect_ex(("127.0.0.1", control.ports[port])), 0)
        finally:
            self.faults.rules = []
        control.ready()
        self.assertEqual(self.pods(self.connect(self.join(control), control)), 20)


if __name__ == "__main__":
    unittest.main(verbosity=2)
