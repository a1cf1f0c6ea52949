#!/usr/bin/env python3
"""The tests against today's Kubernetes, as far as Debian has it (newest.sh): the definitions of weft.dev and of the Gateway API, and all objects
of theirs, live in an API server of 1.36, which kube-apiserver 1.20 aggregates; kubectl is of 1.36 too.

Usage: newest.py PATH-TO-weft-control [TEST ARGUMENT...]: its own cases, or a test_*.py with that API server in the place of the old one.
No part of `make test`: Debian sid changes from day to day.
"""
import http.client, json, os, runpy, ssl, subprocess, sys, threading, time, unittest, urllib.request
import cluster
from cluster import CACHE, TOKEN, Cluster, free_port
from policies import BAD, FULL, GOOD, STRICT, WORSE, changed

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
# What the aggregated server would ask the old one for and doesn't find there.
UNKNOWN = "MutatingAdmissionPolicy,ValidatingAdmissionPolicy,MutatingAdmissionWebhook,ValidatingAdmissionWebhook"


class NewestCluster(Cluster):
    def __init__(self):
        super().__init__()
        self.ports["definitions"] = free_port()
        self.follower = None

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self.folder)

    def run(self, name, *arguments):
        if name == "api":
            arguments += ("--client-ca-file=front-ca.crt", "--requestheader-client-ca-file=front-ca.crt", "--requestheader-allowed-names=aggregator",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-username-headers=X-Remote-User", "--proxy-client-cert-file=front.crt", "--proxy-client-key-file=front.key")
        super().run(name, *arguments)

    def start_api(self):
        if not self.follower:
            self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "front-ca.key", "-out", "front-ca.crt", "-subj", "/CN=front", "-days", "2")
            self.openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "front.key", "-out", "front.csr", "-subj", "/CN=aggregator")
            self.openssl("x509", "-req", "-in", "front.csr", "-CA", "front-ca.crt", "-CAkey", "front-ca.key", "-CAcreateserial", "-out", "front.crt", "-days", "2")
        super().start_api()
        core = self.kubeconfig(TOKEN)
        if "definitions" not in self.processes:
            self.run("definitions", f"{CACHE}/bin/apiextensions-apiserver", f"--etcd-servers=http://127.0.0.1:{self.ports['etcd']}", "--etcd-prefix=/newest",
                f"--secure-port={self.ports['definitions']}", "--bind-address=127.0.0.1", f"--cert-dir={self.folder}/definitions", f"--kubeconfig={core}",
                f"--authentication-kubeconfig={core}", f"--authorization-kubeconfig={core}", f"--disable-admission-plugins={UNKNOWN}",
                "--enable-priority-and-fairness=false")
        self.wait_until(lambda: self.exists("/api/v1/namespaces/default"), "the namespace default")
        if not self.exists("/api/v1/namespaces/default/services/definitions"):
            self.call("POST", "/api/v1/namespaces/default/services", {"metadata": {"name": "definitions"},
                "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": self.ports["definitions"]}]}})
        self.aggregate("apiextensions.k8s.io", "v1")
        self.wait_until(lambda: self.is_available("v1.apiextensions.k8s.io") and self.is_served(DEFINITIONS), "the API server of definitions", 60)
        if not self.follower:
            self.follower = threading.Thread(target=self.follow, daemon=True)
            self.follower.start()

    def aggregate(self, group, version):
        """From now on the other server answers for this group; the old one's own word on it is overruled."""
        path = f"{SERVICES}/{version}.{group}"
        known = self.exists(path)
        wanted = {"metadata": {"name": f"{version}.{group}"}, "spec": {"group": group, "version": version, "groupPriorityMinimum": 20000, "versionPriority": 20,
            "insecureSkipTLSVerify": True, "service": {"namespace": "default", "name": "definitions", "port": self.ports["definitions"]}}}
        if known is None:
            self.call("POST", SERVICES, wanted)
        elif known["spec"] != wanted["spec"]:
            wanted["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"]
            self.call("PUT", path, wanted)

    def is_available(self, name):
        conditions = self.call("GET", f"{SERVICES}/{name}").get("status", {}).get("conditions") or []
        return any(condition["type"] == "Available" and condition["status"] == "True" for condition in conditions)

    def follow(self):
        """kube-apiserver registers the groups of its own definitions by itself; for those of the other one this does."""
        aggregated = set()
        while os.path.isdir(self.folder):
            time.sleep(0.1)
            try:
                served = set()
                for crd in self.call("GET", DEFINITIONS)["items"]:
                    conditions = crd.get("status", {}).get("conditions") or []
                    if any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions):
                        served |= {(crd["spec"]["group"], version["name"]) for version in crd["spec"]["versions"] if version["served"]}
                # Too early, and the aggregator finds the group absent and looks again half a minute later.
                for group, version in served:
                    if self.answers(f"/apis/{group}/{version}"):
                        self.aggregate(group, version)
                for group, version in aggregated - served:
                    self.call("DELETE", f"{SERVICES}/{version}.{group}")
                aggregated = served
            # While it starts anew, or is half dead.
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                continue

    def answers(self, path):
        request = urllib.request.Request(f"https://127.0.0.1:{self.ports['definitions']}{path}", headers={"authorization": f"Bearer {TOKEN}"})
        try:
            with urllib.request.urlopen(request, timeout=5, context=ssl._create_unverified_context()) as answer:
                return answer.status == 200
        except OSError:
            return False


class Newest(unittest.TestCase):
    """What no older server can show: it evaluates the CEL rules, and their cost is within its bounds."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = NewestCluster().__enter__()
        cls.addClassCleanup(cls.cluster.__exit__)
        environment = {**os.environ, "KUBECONFIG": cls.cluster.kubeconfig(TOKEN)}
        # Not validated here: the description of CustomResourceDefinition that kubectl reads is the old server's.
        subprocess.run([f"{CACHE}/newest/kubectl", "apply", "--server-side", "--validate=false", "-k", f"{ROOT}/deploy/crds"], env=environment, check=True, stdout=subprocess.DEVNULL)
        for namespace in ("shop", "weft-system"):
            cls.cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        cls.cluster.wait_until(lambda: cls.refusal(FULL) is None, "the definitions")

    @classmethod
    def refusal(cls, policy):
        plural = {"TrafficPolicy": "trafficpolicies", "PeerAuthentication": "peerauthentications"}[policy["kind"]]
        try:
            cls.cluster.call("POST", f"/apis/weft.dev/v1alpha1/namespaces/{policy['metadata']['namespace']}/{plural}?dryRun=All", policy)
        except OSError as error:
            return json.loads(error.read())["message"] if getattr(error, "code", 0) == 422 else str(error)
        return None

    def test_the_server_refuses_what_the_rules_refuse(self):
        self.assertIsNone(self.refusal(STRICT))
        wrong = {f"{path}: {value}": changed(FULL, path, value) for path, value in BAD} | {str(index): policy for index, policy in enumerate(WORSE)}
        for name, policy in wrong.items():
            # A key is text or a map, which no schema says: weft-control refuses it, in the status.
            if not name.startswith("rateLimits.0.keys"):
                with self.subTest(name):
                    self.assertRegex(self.refusal(policy) or "taken", "is invalid")

    def test_the_server_takes_what_lies_at_the_bounds(self):
        for path, value in GOOD:
            with self.subTest(f"{path}: {value}"):
                self.assertIsNone(self.refusal(changed(FULL, path, value)))

    def test_every_definition_is_sound(self):
        for crd in self.cluster.call("GET", DEFINITIONS)["items"]:
            conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
            self.assertEqual((conditions.get("Established"), conditions.get("NonStructuralSchema", "False")), ("True", "False"), crd["metadata"]["name"])


if __name__ == "__main__":
    os.environ["PATH"] = f"{CACHE}/newest:{os.environ['PATH']}"
    control, *test = sys.argv[1:]
    if test:
        cluster.Cluster = NewestCluster
        sys.argv = [test[0], control, *test[1:]]
        runpy.run_path(test[0], run_name="__main__")
    else:
        sys.argv = sys.argv[:1]
        unittest.main(verbosity=2)
