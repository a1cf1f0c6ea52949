#!/usr/bin/env python3
"""weft on a cluster: a real API server, the agents of a lab's two nodes, and exec between them.

Usage: test_cli.py PATH-TO-weft-control, beside which the other programs are; as root, as the lab needs it.
"""
import json, os, shutil, subprocess, sys, tempfile, time, unittest
from cluster import Cluster, READER, TOKEN
from kubelet import Kubelet

BIN = os.path.dirname(os.path.abspath(sys.argv.pop(1))) if len(sys.argv) > 1 else os.path.abspath(".build/debug")
LAB = "clitest"
NODES = ("east", "west")
MESH = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {weft.dev/mesh: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: till, namespace: shop}
spec: {selector: {app: till}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""
POD = """---
apiVersion: v1
kind: Pod
metadata: {name: till-%(node)s, namespace: shop, labels: {app: till}}
spec:
  nodeName: %(node)s
  containers: [{name: c, image: none, command: [sleep, infinity]}]
"""
NODE = """---
apiVersion: v1
kind: Node
metadata: {name: %s}
"""


class CLI(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="weft-cli-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        os.mkdir(f"{cls.folder}/mesh")
        with open(f"{cls.folder}/mesh/mesh.yaml", "w") as file:
            file.write(MESH + "".join(NODE % node + POD % {"node": node} for node in NODES))
        cls.addClassCleanup(cls.lab, "down")
        cls.lab("up", f"{cls.folder}/mesh")
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.__exit__)
        cls.kubelets = {}
        for name in ("weft-system", "shop"):
            cls.cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": {"weft.dev/mesh": "enabled"} if name == "shop" else {}}})
        for node in NODES:
            cls.kubelets[node] = Kubelet(cls.folder, cls.in_pod)
            cls.cluster.call("POST", "/api/v1/nodes", {"metadata": {"name": node}})
            cls.cluster.call("PATCH", f"/api/v1/nodes/{node}/status", {"status": {
                "nodeInfo": {key: "" for key in ("machineID", "systemUUID", "bootID", "osImage", "containerRuntimeVersion",
                    "kubeletVersion", "kubeProxyVersion", "operatingSystem", "architecture")} | {"kernelVersion": "6.1.0-1-amd64"},
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": cls.kubelets[node].port}}}}, "application/merge-patch+json")
            cls.add_pod("weft-system", f"weft-agent-{node}", node, {"app.kubernetes.io/name": "weft-agent"}, "weft-agent")
            cls.add_pod("shop", f"till-{node}", node, {"app": "till"}, "c")

    @classmethod
    def lab(cls, *arguments):
        done = subprocess.run([f"{BIN}/weft-lab", *arguments], env={**os.environ, "WEFT_LAB": LAB}, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"weft-lab {arguments[0]}: {done.stdout}{done.stderr}")

    @classmethod
    def add_pod(cls, namespace, name, node, labels, container):
        cls.cluster.call("POST", f"/api/v1/namespaces/{namespace}/pods", {
            "metadata": {"name": name, "labels": labels},
            "spec": {"nodeName": node, "containers": [{"name": container, "image": "example/i:1"}]}})
        cls.cluster.call("PATCH", f"/api/v1/namespaces/{namespace}/pods/{name}/status", {"status": {
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}, "application/merge-patch+json")

    @classmethod
    def in_pod(cls, namespace, pod, command):
        if namespace != "weft-system" or not command or command[0] != "weft-agent":
            return None
        return [f"{BIN}/weft-agent", *command[1:], "--run-dir", f"/run/weft-lab/{LAB}/nodes/{pod.removeprefix('weft-agent-')}/run"]

    def weft(self, *arguments, status=0, token=TOKEN):
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "KUBECONFIG": self.cluster.kubeconfig(token)}
        done = subprocess.run([f"{BIN}/weft", *arguments], env=environment, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, status, f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def test_every_agent(self):
        text = self.weft("status", "-A")
        self.assertRegex(text, r"(?m)^NODE +AGENT +PROXY")
        for node in NODES:
            self.assertRegex(text, rf"(?m)^{node} +\S+ +running")
        # Without a socket on this machine a cluster is meant, and of it every agent.
        for command in ("services", "policies", "endpoints", "routes", "connections", "identity", "bpf"):
            self.weft(command)
        text = self.weft("workloads")
        for node in NODES:
            self.assertRegex(text, rf"(?m)^shop +till-{node} +{node} +node +enrolled")
        self.assertEqual(len(text.splitlines()), 3, text)
        self.assertRegex(self.weft("services"), r"(?m)^NODE +NAMESPACE.*\neast +shop +till .*\nwest +shop +till ")

    def test_one_agent(self):
        # --node alone would find the lab's own socket.
        for options in (["--context", "test", "--node", "west"], ["--pod", "shop/till-west"], ["--pod", "till-west", "-n", "shop"]):
            answer = json.loads(self.weft("status", "-o", "json", *options))
            self.assertEqual([entry["node"] for entry in answer], ["west"])
            self.assertEqual(answer[0]["answer"]["node"], "west")
        self.assertIn("no such pod", self.weft("status", "--pod", "shop/nobody", status=2))
        self.assertIn("No agent runs on north", self.weft("status", "--context", "test", "--node", "north", status=3))

    def test_a_namespace(self):
        self.assertIn("till-east", self.weft("workloads", "-n", "shop"))
        self.assertNotIn("till-east", self.weft("workloads", "-n", "other"))
        answer = json.loads(self.weft("services", "-n", "other", "-o", "json"))
        self.assertEqual([entry["answer"]["services"] for entry in answer], [[], []])

    def test_a_dump(self):
        answer = json.loads(self.weft("dump", "-A"))
        self.assertEqual({entry["node"] for entry in answer}, set(NODES))
        self.assertIn("bpf", answer[0]["answer"])

    def test_versions(self):
        text = self.weft("version")
        for node in NODES:
            self.assertRegex(text, rf"(?m)^agent +{node} +0\.1\.0$")

    def test_an_agent_that_is_away(self):
        self.kubelets["west"].stop()
        try:
            text = self.weft("workloads", status=1)
            self.assertIn("till-east", text)
            self.assertRegex(text, r"(?m)^west: ")
            self.assertRegex(self.weft("workloads", "--context", "test", "--node", "west", status=3), r"(?m)^west: ")
        finally:
            kubelet = Kubelet(self.folder, self.in_pod)
            self.kubelets["west"] = kubelet
            self.cluster.call("PATCH", "/api/v1/nodes/west/status", {"status": {
                "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port}}}}, "application/merge-patch+json")

    def kubectl(self, *arguments, input=None):
        done = subprocess.run(["kubectl", "--kubeconfig", self.cluster.kubeconfig(TOKEN), *arguments], input=input, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_rights(self):
        text = self.weft("status", status=1, token=READER)
        self.assertIn("weft-inspect", text)
        # What the message says to do is enough, for every command.
        self.kubectl("apply", "-f", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../deploy/base/access/inspect.yaml"))
        self.kubectl("create", "clusterrolebinding", "weft-inspect-me", "--clusterrole=weft-inspect", "--user=weft-control")
        self.kubectl("-n", "weft-system", "create", "rolebinding", "weft-inspect-me", "--role=weft-inspect", "--user=weft-control")
        try:
            for command in (["status"], ["workloads"], ["dump"], ["version"], ["status", "--pod", "shop/till-west"]):
                self.weft(*command, token=READER)
            self.assertNotIn("can't be looked at", self.weft("check", "-A", status=1, token=READER))
        finally:
            self.kubectl("delete", "clusterrolebinding", "weft-inspect-me")
            self.kubectl("-n", "weft-system", "delete", "rolebinding", "weft-inspect-me")

    def test_a_server_that_is_away(self):
        path = f"{self.folder}/away"
        with open(self.cluster.kubeconfig(TOKEN)) as file:
            content = json.load(file)
        content["clusters"][0]["cluster"] = {"server": "https://127.0.0.1:9"}
        with open(path, "w") as file:
            json.dump(content, file)
        for command in ("status", "check", "version"):
            self.assertIn("isn't reachable", self.weft(command, "--kubeconfig", path, status=3))

    def findings(self):
        answer = json.loads(self.weft("check", "-A", "-o", "json", status=1))
        return {(entry["check"], entry["place"]): entry for entry in answer["findings"]}

    def test_check(self):
        found = self.findings()
        entry = found["control plane", "Deployment weft-system/weft-control"]
        self.assertEqual((entry["severity"], entry["repair"]), ("error", "weft install"))
        self.assertEqual(found["definitions", "CustomResourceDefinition trafficpolicies.weft.dev"]["severity"], "error")
        self.assertIn(("CA", "ConfigMap weft-system/weft-roots"), found)
        self.assertEqual(found["pods", ""]["severity"], "ok", found)
        # A pod that the agent can't know: it isn't in the lab.
        self.add_pod("shop", "lost", "east", {}, "c")
        try:
            entry = self.findings()["pods", "pod shop/lost"]
            self.assertIn("hasn't heard of it", entry["reason"])
        finally:
            self.cluster.call("DELETE", "/api/v1/namespaces/shop/pods/lost?gracePeriodSeconds=0")

    def test_check_of_what_is_installed(self):
        printed = subprocess.run([f"{BIN}/weft", "install", "--dry-run", "--kubernetes-version", "1.20"], check=True, capture_output=True)
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=printed.stdout)
        found = self.findings()
        for check in ("access", "agents", "kernels", "pods"):
            self.assertEqual(found[check, ""]["severity"], "ok", found)
        self.assertIn("0 of 2", found["control plane", "Deployment weft-system/weft-control"]["reason"])
        self.assertIn("no certificate", found["webhook", "MutatingWebhookConfiguration weft-injector"]["reason"])
        self.assertNotIn(("definitions", "CustomResourceDefinition trafficpolicies.weft.dev"), found)
        # What is broken one by one.
        self.kubectl("patch", "clusterrole", "weft-control", "--type=json", "-p", '[{"op": "remove", "path": "/rules/1"}]')
        self.kubectl("create", "clusterrolebinding", "too-much", "--clusterrole=view", "--serviceaccount=weft-system:weft-agent")
        try:
            found = self.findings()
            self.assertIn("list endpointslices", found["access", "ClusterRole weft-control"]["reason"])
            self.assertEqual(found["access", "ClusterRoleBinding too-much"]["repair"], "kubectl delete clusterrolebinding too-much")
        finally:
            self.kubectl("delete", "clusterrolebinding", "too-much")
            self.kubectl("-n", "weft-system", "delete", "deployment,daemonset", "--all", "--wait=false")

    def test_check_of_a_root_that_ends_soon(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            f"{self.folder}/ca.key", "-out", f"{self.folder}/ca.pem", "-subj", "/CN=weft root", "-days", "1"], check=True, capture_output=True)
        with open(f"{self.folder}/ca.pem") as file:
            pem = file.read()
        self.cluster.call("POST", "/api/v1/namespaces/weft-system/configmaps", {"metadata": {"name": "weft-roots"}, "data": {"ca.pem": pem}})
        try:
            entry = self.findings()["CA", "ConfigMap weft-system/weft-roots"]
            self.assertEqual(entry["severity"], "warning")
            self.assertIn("expires in", entry["reason"])
        finally:
            self.cluster.call("DELETE", "/api/v1/namespaces/weft-system/configmaps/weft-roots")


if __name__ == "__main__":
    unittest.main(verbosity=2)
