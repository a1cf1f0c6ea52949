#!/usr/bin/env python3
"""Pods of every kind on a real API server with the lab's nodes, in a mesh that takes no plaintext: what answers went by it.

Usage: test_pods.py PATH-TO-weft-control, with the other programs beside it.
"""
import json, os, sys, unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
os.environ["BIN"] = os.path.dirname(os.path.abspath(sys.argv.pop(1))) if len(sys.argv) > 1 else os.path.join(ROOT, ".build/debug")
sys.path.insert(0, os.path.join(ROOT, "demo"))
import kubernetes
from lab import Failed, wait_for
from policies import STRICT

ASK = "curl -sS --fail --max-time 10 http://web/"


def container(name, command):
    return {"name": name, "image": "example.org/client", "command": ["sh", "-c", command]}


class Pods(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = kubernetes.Cluster.of(cls, "pods")
        kubernetes.begin(cls.cluster)
        cls.cluster.apply_objects(STRICT)

    def pod(self, name, containers, **spec):
        self.cluster.apply_objects({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
            "spec": {"serviceAccountName": "client", "terminationGracePeriodSeconds": 1, "containers": containers, **spec}})
        self.addCleanup(lambda: self.cluster.kubectl("delete", "pod", "-n", "shop", name, "--wait=true", timeout=60))

    def get(self, kind, name):
        return json.loads(self.cluster.kubectl("get", kind, "-n", "shop", name, "-o", "json"))

    def statuses(self, name, kind="containerStatuses"):
        return self.get("pod", name)["status"].get(kind, [])

    def logs(self, name, container):
        return self.cluster.kubectl("logs", "-n", "shop", name, "-c", container)

    def workload(self, name):
        found = [entry for answer in self.cluster.answers("workloads") for entry in answer["workloads"]
            if entry["name"] == name and entry["local"]]
        return found[0] if found else None

    def is_clean(self):
        said = []
        def check():
            lines = self.cluster.weft_cli("check", "-A", check=False).stdout.splitlines()
            said[:] = [line for line in lines if line.startswith("✗")]
            return not said and any(line.startswith("✓") for line in lines)
        try:
            wait_for("weft check to find nothing", check, 20)
        except Failed:
            self.fail(said)

    def test_an_init_container_is_in_the_mesh_from_its_first_instant(self):
        self.pod("early", [container("main", "sleep infinity")], initContainers=[container("first", ASK), container("second", ASK)])
        self.cluster.kubectl("wait", "-n", "shop", "pod/early", "--for=condition=Ready", "--timeout=30s", timeout=40)
        for name in ("first", "second"):
            self.assertRegex(self.logs("early", name), "web-v[12]")
        self.assertEqual([status["restartCount"] for status in self.statuses("early", "initContainerStatuses")], [0, 0])

    def test_a_jobs_pod_ends_and_leaves_nothing(self):
        self.cluster.apply_objects({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": "shop"}, "spec": {
            "backoffLimit": 0, "template": {"metadata": {"labels": {"app": "once"}}, "spec": {
                "serviceAccountName": "client", "restartPolicy": "Never", "containers": [container("main", ASK)]}}}})
        self.addCleanup(lambda: self.cluster.kubectl("delete", "job", "-n", "shop", "once", timeout=60))
        self.cluster.kubectl("wait", "-n", "shop", "job/once", "--for=condition=Complete", "--timeout=30s", timeout=40)
        name = self.cluster.kubectl("get", "pods", "-n", "shop", "-l", "app=once", "-o", "jsonpath={.items[0].metadata.name}")
        self.assertRegex(self.logs(name, "main"), "web-v[12]")
        # It stays as an object; nothing of it is enrolled, or held.
        wait_for("it to be left", lambda: (self.workload(name) or {"state": ""})["state"] not in ("enrolled", "pending", "failed"), 20)
        self.is_clean()

    def test_a_container_that_fails_again_and_again_stays_in_the_mesh(self):
        self.pod("frail", [container("main", f"{ASK} || exit 3; exit 1")])
        wait_for("two restarts", lambda: any(status["restartCount"] >= 2 for status in self.statuses("frail")), 60)
        last = self.statuses("frail")[0]["lastState"]["terminated"]
        self.assertEqual(last["exitCode"], 1, "each was answered")

    def test_a_pod_of_its_nodes_network_is_left_alone(self):
        self.pod("bare", [container("main", "sleep infinity")], hostNetwork=True)
        self.cluster.kubectl("wait", "-n", "shop", "pod/bare", "--for=condition=Ready", "--timeout=30s", timeout=40)
        wait_for("the agent to know it", lambda: self.workload("bare"), 20)
        self.assertIn("its node's network", self.workload("bare")["reason"])
        self.is_clean()

    def test_a_pod_outside_of_the_mesh_is_refused(self):
        """So that the others' answers prove something."""
        self.cluster.apply_objects({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "outside"}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger", "namespace": "outside"}, "spec": {
                "terminationGracePeriodSeconds": 1, "containers": [container("main", "sleep infinity")]}})
        self.cluster.kubectl("wait", "-n", "outside", "pod/stranger", "--for=condition=Ready", "--timeout=30s", timeout=40)
        said = self.cluster.exec("stranger", "sh", "-c", "curl -sS --fail --max-time 3 http://web.shop/", namespace="outside", check=False)
        self.assertNotEqual(said.returncode, 0, said.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
