"""A namespace of pods on a real API server, weft-control processes that serve it, and agents on the wire."""
import os, unittest
from agent import Agent, TYPES, pem, request
from cluster import Cluster
from control import Control
from faults import Faults

WORKLOAD, SERVICE = TYPES[4], TYPES[3]
TOKENS = {"one": "secret-of-node-one", "two": "secret-of-node-two"}


class Meshed(unittest.TestCase):
    """Of 20 pods, half of them on either node."""
    # The program.
    control = "weft-control"

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
        control = Control(self.control, self.cluster, name, self.faults.url, ["--join-tokens", tokens, "--advertise", "weft-control"])
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
