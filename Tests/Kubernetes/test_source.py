#!/usr/bin/env python3
"""weft-control against a real API server: what it reads, and what it keeps while the server is away.

Usage: test_source.py PATH-TO-weft-control; the API server is build.sh's.
"""
import json, os, shutil, signal, subprocess, sys, tempfile, unittest
from cluster import Cluster, free_port
from faults import Faults

CONTROL = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 and __name__ == "__main__" else "weft-control"
GATEWAY = "gateway.networking.k8s.io"


def definition(group, version, kind, plural):
    """A CustomResourceDefinition without a schema: what is read of an object is checked by weft-control."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [{
                "name": version, "served": True, "storage": True, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }],
        },
    }


def pod(name, address=None, node="one"):
    return {
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 8080}]}]},
    }


class Source(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.__exit__)
        cls.cluster.allow_control()
        cls.cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": "shop", "labels": {"weft.dev/mesh": "enabled"}}})
        for index in range(3):
            cls.add_pod(f"web-{index}", f"10.1.0.{index + 1}")
        cls.cluster.call("POST", "/api/v1/namespaces/shop/services", {
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})

    @classmethod
    def add_pod(cls, name, address):
        cls.cluster.call("POST", "/api/v1/namespaces/shop/pods", pod(name))
        cls.cluster.call("PATCH", f"/api/v1/namespaces/shop/pods/{name}/status", {"status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}]}}, "application/merge-patch+json")

    def setUp(self):
        self.faults = Faults(self.cluster)
        self.addCleanup(self.faults.stop)
        self.state = tempfile.mkdtemp(prefix="weft-control-")
        tokens = f"{self.state}/tokens"
        with open(tokens, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write("one secret-of-node-one\n")
        self.log = open(f"{self.state}/log", "wb+")
        self.control = subprocess.Popen(
            [CONTROL, "--kubeconfig", self.cluster.kubeconfig(server=self.faults.url), "--state-dir", self.state, "--join-tokens", tokens,
                "--listen", "127.0.0.1", "--discovery-port", str(free_port()), "--join-port", str(free_port()), "--webhook-port", str(free_port()),
                "--health-port", str(free_port())],
            stdout=self.log, stderr=self.log)
        self.addCleanup(self.end)
        # From then on it ends by SIGTERM as it should.
        self.cluster.wait_until(lambda: self.control.poll() is not None or "reading the objects" in self.read("log"), "its start")

    def end(self):
        self.control.send_signal(signal.SIGTERM)
        self.assertEqual(self.control.wait(20), 0, self.lines())
        self.log.close()
        shutil.rmtree(self.state)

    def read(self, name):
        with open(f"{self.state}/{name}") as file:
            return file.read()

    def lines(self):
        return self.read("log")[-3000:]

    def objects(self):
        self.assertIsNone(self.control.poll(), self.lines())
        try:
            report = json.loads(self.read("status.json"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return {(entry["kind"], entry["name"]): entry for entry in report["objects"]}

    def wait_for(self, what, condition, seconds=30):
        try:
            return self.cluster.wait_until(lambda: condition(self.objects()), what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.lines()}\n{sorted(self.objects())}") from None

    def test_objects_come_change_and_go(self):
        self.wait_for("the first state", lambda objects: ("Service", "web") in objects and ("Pod", "web-2") in objects)
        # Routes are another test's.
        refused = [key for key, entry in self.objects().items() if not entry["accepted"] and key[0] != "HTTPRoute"]
        self.assertEqual(refused, [])
        self.add_pod("more", "10.1.0.9")
        self.wait_for("a new pod", lambda objects: ("Pod", "more") in objects)
        self.cluster.call("DELETE", "/api/v1/namespaces/shop/pods/more?gracePeriodSeconds=0")
        self.wait_for("its end", lambda objects: ("Pod", "more") not in objects)

    def test_a_kind_that_comes_later_joins_and_leaves(self):
        self.wait_for("the first state", lambda objects: ("Service", "web") in objects)
        self.cluster.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            definition(GATEWAY, "v1", "HTTPRoute", "httproutes"))
        path = f"/apis/{GATEWAY}/v1/namespaces/shop/httproutes"
        self.cluster.wait_until(lambda: self.cluster.is_served(path), "the definition")
        route = {
            "apiVersion": f"{GATEWAY}/v1", "kind": "HTTPRoute", "metadata": {"name": "web"},
            "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "web"}],
                "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]},
            "aFieldOfTomorrow": True,
        }
        self.cluster.call("POST", path, route)
        entry = self.wait_for("the route", lambda objects: objects.get(("HTTPRoute", "web")), 40)
        self.assertTrue(entry["accepted"], entry)
        # What can't be right is refused by itself; the rest holds.
        bad = {**route, "metadata": {"name": "bad"}, "spec": {**route["spec"], "rules": [{"matches": [
            {"path": {"type": "RegularExpression", "value": "("}}]}]}}
        self.cluster.call("POST", path, bad)
        entry = self.wait_for("the refusal", lambda objects: objects.get(("HTTPRoute", "bad")))
        self.assertFalse(entry["accepted"])
        self.assertIn("matches[0].path", entry["reason"])
        self.assertTrue(self.objects()[("HTTPRoute", "web")]["accepted"])
        # With its definition the kind goes, a while later: a server that has just started doesn't know its definitions yet.
        self.cluster.call("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/httproutes.{GATEWAY}")
        self.wait_for("its end", lambda objects: ("HTTPRoute", "web") not in objects, 60)
        self.assertIn(("Service", "web"), self.objects())

    def test_a_server_that_is_away_changes_nothing(self):
        self.wait_for("the first state", lambda objects: ("Pod", "web-2") in objects)
        before = {key for key in self.objects() if key[0] in ("Pod", "Service")}
        self.cluster.stop("api", signal.SIGKILL)
        try:
            self.wait_for("the log of it", lambda _: "can't be reached" in self.read("log"))
            self.assertEqual({key for key in self.objects() if key[0] in ("Pod", "Service")}, before)
        finally:
            self.cluster.start_api()
        self.add_pod("after", "10.1.0.10")
        objects = self.wait_for("what came meanwhile", lambda objects: objects if ("Pod", "after") in objects else None, 60)
        self.assertLessEqual(before, set(objects))
        self.cluster.call("DELETE", "/api/v1/namespaces/shop/pods/after?gracePeriodSeconds=0")

    def test_a_watch_that_is_spoilt_changes_nothing_and_goes_on(self):
        self.wait_for("the first state", lambda objects: ("Pod", "web-2") in objects)
        before = {key for key in self.objects() if key[0] in ("Pod", "Service")}
        for index, fault in enumerate(("cut", "endless", "gone", "garbage", "nothing", 410, 429, 500)):
            with self.subTest(fault):
                self.faults.rules = [("GET", "/pods.*watch=", fault)]
                self.faults.seen.clear()
                self.faults.drop()
                # Not in a hot loop either: what fails is asked for again after a pause.
                self.cluster.wait_until(lambda: sum("/pods" in path and "watch=" in path for _, path in self.faults.seen) > 1, f"watches that meet {fault}", 60)
                self.add_pod(f"meanwhile-{index}", f"10.1.1.{index + 1}")
                self.assertLessEqual(before, set(self.objects()))
                self.assertNotIn(("Pod", "ghost"), self.objects())
                self.assertLess(len(self.faults.seen), 200, "a hot loop")
                self.faults.rules = []
                self.wait_for(f"what came meanwhile ({fault})", lambda objects: ("Pod", f"meanwhile-{index}") in objects, 60)
                self.cluster.call("DELETE", f"/api/v1/namespaces/shop/pods/meanwhile-{index}?gracePeriodSeconds=0")
                self.wait_for("its end", lambda objects: ("Pod", f"meanwhile-{index}") not in objects)
        self.assertIn("pods: the API server's answer can't be read: an event of more than 8 MiB", self.read("log"))

    def test_without_rights_nothing_is_served_and_the_log_says_what_is_missing(self):
        base = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        self.wait_for("the first state", lambda objects: ("Service", "web") in objects)
        binding = self.cluster.call("GET", f"{base}/weft-control")
        self.cluster.call("DELETE", f"{base}/weft-control")
        try:
            self.doCleanups()
            self.setUp()
            self.wait_for("the log of it", lambda _: "forbidden" in self.read("log"))
            self.assertEqual(self.objects(), {})
        finally:
            for field in ("resourceVersion", "uid", "creationTimestamp", "managedFields"):
                binding["metadata"].pop(field, None)
            self.cluster.call("POST", base, binding)
        self.wait_for("the state", lambda objects: ("Service", "web") in objects, 60)

    def test_zz_a_server_that_has_lost_everything_is_read_anew(self):
        """The last one: what the others stand on is gone then."""
        self.wait_for("the first state", lambda objects: ("Pod", "web-2") in objects)
        # What it knows is newer than anything that the empty server will have for long.
        note = {"metadata": {"name": "note"}, "data": {"turn": "0"}}
        self.cluster.call("POST", "/api/v1/namespaces/shop/configmaps", note)
        for turn in range(400):
            self.cluster.call("PATCH", "/api/v1/namespaces/shop/configmaps/note", {"data": {"turn": str(turn + 1)}}, "application/merge-patch+json")
        self.add_pod("newest", "10.1.2.1")
        self.wait_for("the newest version", lambda objects: ("Pod", "newest") in objects)
        self.cluster.stop("api", signal.SIGKILL)
        self.cluster.stop("etcd", signal.SIGKILL)
        self.assertIn(("Pod", "newest"), self.objects())
        self.cluster.start_etcd("empty")
        self.cluster.start_api()
        self.cluster.allow_control()
        self.cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": "shop", "labels": {"weft.dev/mesh": "enabled"}}})
        self.add_pod("after", "10.1.2.2")
        objects = self.wait_for("what there is now", lambda objects: objects if ("Pod", "after") in objects and ("Pod", "newest") not in objects else None, 90)
        self.assertEqual([name for kind, name in objects if kind == "Pod"], ["after"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
