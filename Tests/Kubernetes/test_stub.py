#!/usr/bin/env python3
"""A tunnel stub gets its certificate with its pod's token from a real API server, renews it, and is refused afterwards.

Usage: test_stub.py PATH-TO-weft-control, beside which weft-stub lies; the API server is build.sh's. Everything runs in a network
namespace of its own, since the stub's ports are fixed.
"""
import json, os, subprocess, sys, time

if os.environ.get("WEFT_STUB_NAMESPACE") != "1":
    os.environ["WEFT_STUB_NAMESPACE"] = "1"
    os.execvp("unshare", ["unshare", "--net", "--", sys.executable, *sys.argv])

import unittest, urllib.error
from cluster import Cluster
from control import Control

CONTROL = os.path.abspath(sys.argv.pop(1))
STUB = os.path.join(os.path.dirname(CONTROL), "weft-stub")
LIFETIME = ["--certificate-lifetime", "60s"]
POD_IP, SHOP = "10.88.0.1", "/api/v1/namespaces/shop"


class Stub(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The API server looks for a default route.
        for line in (["link", "set", "lo", "up"], ["link", "add", "eth0", "type", "bridge"], ["link", "set", "eth0", "up"],
                     ["address", "add", f"{POD_IP}/24", "dev", "eth0"], ["route", "add", "default", "dev", "eth0"]):
            subprocess.run(["ip", *line], check=True)
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.__exit__)
        cls.cluster.allow_control()
        call = cls.cluster.call
        call("POST", "/api/v1/namespaces", {"metadata": {"name": "shop", "labels": {"weft.dev/mesh": "enabled"}}})
        call("POST", f"{SHOP}/serviceaccounts", {"metadata": {"name": "web"}})
        for name, mode in (("web-1", {"weft.dev/injected": "tunnel"}), ("web-2", {}), ("web-3", {"weft.dev/injected": "tunnel"})):
            call("POST", f"{SHOP}/pods", {
                "metadata": {"name": name, "annotations": mode},
                "spec": {"nodeName": "virtual", "serviceAccountName": "web", "containers": [{"name": "c", "image": "i"}]}})
            call("PATCH", f"{SHOP}/pods/{name}/status", {"status": {"phase": "Running", "podIP": POD_IP}},
                "application/merge-patch+json")
        cls.control = Control(CONTROL, cls.cluster, arguments=LIFETIME).ready()
        cls.addClassCleanup(cls.control.end)

    def token(self, pod):
        uid = self.cluster.call("GET", f"{SHOP}/pods/{pod}")["metadata"]["uid"]
        return self.cluster.call("POST", f"{SHOP}/serviceaccounts/web/token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": ["weft"], "expirationSeconds": 600, "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}}})["status"]["token"]

    def start(self, pod, token):
        folder = self.cluster.folder
        with open(f"{folder}/token", "w") as file:
            file.write(token + "\n")
        roots = self.write_roots()
        stub = subprocess.Popen(
            [STUB, "run", "--pod", f"shop/{pod}", "--pod-ip", POD_IP, "--service-account", "web",
                "--control", f"127.0.0.1:{self.control.ports['discovery']}", "--join",
                f"localhost:{self.control.ports['join']}", "--token-file", f"{folder}/token", "--ca-file", roots],
            stdout=subprocess.DEVNULL, stderr=open(f"{folder}/stub.log", "a"))
        self.stub = stub

        def end():
            stub.kill()
            stub.wait()
        self.addCleanup(end)
        return stub

    def write_roots(self):
        path = f"{self.cluster.folder}/roots.pem"
        with open(path, "w") as file:
            file.write(self.roots())
        return path

    def roots(self):
        """The bundle as the leader publishes it."""
        def published():
            try:
                return self.cluster.call("GET", "/api/v1/namespaces/weft-system/configmaps/weft-roots")["data"]["ca.pem"]
            except urllib.error.HTTPError:
                return None
        return self.control.wait("the published bundle", published, 30)

    def status(self):
        self.assertIsNone(self.stub.poll(), f"the stub ended: {self.log()[-1500:]}")
        done = subprocess.run([STUB, "status"], capture_output=True, text=True)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def log(self):
        with open(f"{self.cluster.folder}/stub.log") as file:
            return file.read()

    def test_a_pods_token_brings_its_certificate_until_the_pod_has_gone(self):
        self.start("web-1", self.token("web-1"))
        def wait(condition, what, seconds=20):
            try:
                return self.cluster.wait_until(condition, what, seconds)
            except AssertionError as error:
                raise AssertionError(f"{error}; {self.status()}; {self.log()[-1500:]}; {self.control.lines()[-1500:]}") from None
        first = wait(lambda: self.status().get("certificate_expires"), "a certificate")
        wait(lambda: self.status()["ready"], f"the mesh: {self.status()}")
        self.assertEqual(self.status()["identity"], "spiffe://cluster.local/ns/shop/sa/web")
        wait(lambda: self.status().get("certificate_expires", first) != first, "a renewed certificate at half of its life", 45)
        wait(lambda: self.status()["control"]["connected"], "discovery with the renewed one")
        self.cluster.call("DELETE", f"{SHOP}/pods/web-1?gracePeriodSeconds=0")
        wait(lambda: self.status()["certificate_error"], "a refusal once the pod has gone", 45)

    def test_a_mesh_that_is_cut_over_to_another_ca(self):
        self.start("web-3", self.token("web-3"))
        first = self.cluster.wait_until(lambda: self.status().get("certificate_expires"), "a certificate")
        self.cluster.wait_until(lambda: self.status()["ready"], "the mesh")
        before = self.roots()
        self.control.end()
        # Nobody puts it back.
        self.cluster.call("DELETE", "/api/v1/namespaces/weft-system/secrets/weft-ca")
        type(self).control = Control(CONTROL, self.cluster, "anew", arguments=LIFETIME, ports=self.control.ports).ready()
        self.addClassCleanup(self.control.end)
        self.control.wait("other roots", lambda: self.roots() != before)
        self.assertFalse(self.status()["control"]["connected"])
        # As the kubelet refreshes what is mounted.
        self.write_roots()
        self.cluster.wait_until(lambda: self.status()["control"]["connected"] and self.status()["certificate_expires"] != first,
            "a certificate of the new CA, and the mesh by it", 90)

    def test_the_token_of_a_pod_that_is_no_stub_is_refused(self):
        self.start("web-2", self.token("web-2"))
        self.cluster.wait_until(
            lambda: "not meshed by a stub" in (self.status().get("certificate_error") or ""), "a refusal with its reason")
        self.assertFalse(self.status()["ready"])
        self.cluster.wait_until(lambda: any(
            (event["reason"], event["involvedObject"]["kind"], event["involvedObject"]["name"]) == ("JoinRefused", "Pod", "web-2")
            for event in self.cluster.call("GET", f"{SHOP}/events")["items"]), "an event that a person finds")

    def test_no_token_at_all(self):
        self.start("web-1", "nonsense")
        self.cluster.wait_until(
            lambda: "isn't one of a ServiceAccount" in (self.status().get("certificate_error") or ""), "a refusal")


if __name__ == "__main__":
    unittest.main(verbosity=2)
