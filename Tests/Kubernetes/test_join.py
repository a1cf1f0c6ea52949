#!/usr/bin/env python3
"""Who may join: weft-control asks a real API server about real tokens.

Usage: test_join.py PATH-TO-weft-control; the API server is build.sh's.
"""
import base64, json, os, signal, subprocess, sys, threading, time, unittest
from cluster import Cluster
from control import Control
from faults import Faults

CONTROL = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "weft-control"
UNAUTHENTICATED, DENIED, UNAVAILABLE = 16, 7, 14
SYSTEM = "/api/v1/namespaces/weft-system"


def node_id(name):
    return f"spiffe://cluster.local/node/{name}"


def names(certificate):
    return subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-ext", "subjectAltName"],
        input=certificate, check=True, capture_output=True).stdout.decode()


class Join(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.__exit__)
        cls.cluster.allow_control()
        for account in ("weft-agent", "other"):
            cls.cluster.call("POST", f"{SYSTEM}/serviceaccounts", {"metadata": {"name": account}})
        for node in ("one", "two"):
            cls.pod(f"agent-{node}", node, "weft-agent")
        cls.faults = Faults(cls.cluster)
        cls.addClassCleanup(cls.faults.stop)
        cls.control = Control(CONTROL, cls.cluster, server=cls.faults.url).ready()
        cls.addClassCleanup(cls.control.end)

    @classmethod
    def pod(cls, name, node, account):
        cls.cluster.call("POST", f"{SYSTEM}/pods", {"metadata": {"name": name}, "spec": {
            "nodeName": node, "serviceAccountName": account, "containers": [{"name": "c", "image": "i"}]}})
        cls.cluster.call("PATCH", f"{SYSTEM}/pods/{name}/status", {"status": {"phase": "Running", "podIP": "10.1.0.1"}},
            "application/merge-patch+json")

    seconds = 600

    def token(self, pod, account="weft-agent", audience="weft"):
        uid = self.cluster.call("GET", f"{SYSTEM}/pods/{pod}")["metadata"]["uid"] if pod else None
        bound = {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}} if pod else {}
        # No two are the same, also within a second.
        Join.seconds += 1
        answer = self.cluster.call("POST", f"{SYSTEM}/serviceaccounts/{account}/token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": self.seconds, **bound}})
        return answer["status"]["token"]

    def signed(self, token, **changes):
        """The same token with other claims, signed by the cluster's own key."""
        head, claims, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(claims + "=="))
        text = f"{head}.{base64.urlsafe_b64encode(json.dumps({**claims, **changes}).encode()).rstrip(b'=').decode()}"
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", f"{self.cluster.folder}/sa.key"],
            input=text.encode(), check=True, capture_output=True).stdout
        return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    def join(self, token, node, identity=None):
        return self.control.join(token, identity or node_id(node), node)

    def refuse(self, status, text, token, node, identity=None):
        got, message, certificate = self.join(token, node, identity)
        self.assertEqual(got, status, message)
        self.assertIn(text, message)
        self.assertIsNone(certificate)
        self.assertNotIn(token, self.control.lines())

    def test_a_pods_token_brings_the_certificate_of_its_node(self):
        token = self.token("agent-one")
        status, message, certificate = self.join(token, "one")
        self.assertEqual((status, message), (0, ""))
        self.assertIn(f"URI:{node_id('one')}", names(certificate))
        # Signed by the test as the API server would: what the refusals below differ in is what they are refused for.
        self.assertEqual(self.join(self.signed(token), "one")[0], 0)

    def test_an_expired_token_is_refused(self):
        now = int(time.time())
        expired = self.signed(self.token("agent-one"), iat=now - 7200, nbf=now - 7200, exp=now - 3600)
        self.refuse(UNAUTHENTICATED, "the API server doesn't accept the token", expired, "one")

    def test_a_token_of_another_audience_is_refused(self):
        self.refuse(UNAUTHENTICATED, "the API server doesn't accept the token", self.token("agent-one", audience="vault"), "one")

    def test_a_token_of_another_service_account_is_no_nodes(self):
        self.pod("other", "one", "other")
        self.refuse(DENIED, "only weft-system/weft-agent joins as a node", self.token("other", "other"), "one")

    def test_a_token_of_a_deleted_pod_is_refused(self):
        self.pod("going", "one", "weft-agent")
        token, fresh = self.token("going"), self.token("going", audience="weft")
        self.assertEqual(self.join(token, "one")[0], 0)
        self.cluster.call("DELETE", f"{SYSTEM}/pods/going?gracePeriodSeconds=0")
        # Also the one that was reviewed a moment ago.
        self.refuse(UNAUTHENTICATED, "the token's pod weft-system/going is gone", token, "one")
        self.refuse(UNAUTHENTICATED, "", fresh, "one")
        # A pod of the same name that came after it.
        self.pod("going", "one", "weft-agent")
        self.refuse(UNAUTHENTICATED, "", token, "one")

    def test_an_agent_gets_no_other_nodes_identity(self):
        token = self.token("agent-one")
        self.refuse(DENIED, "runs on node one, not on two", token, "two")
        # Neither by what the signing request says.
        self.refuse(DENIED, "was authorised", token, "one", node_id("two"))
        self.refuse(DENIED, "was authorised", token, "one", "spiffe://cluster.local/control")

    def test_an_agent_gets_no_certificate_of_a_pod_by_joining(self):
        self.refuse(DENIED, "not meshed by a stub", self.token("agent-one"), "", "spiffe://cluster.local/ns/weft-system/sa/weft-agent")


    def test_a_token_that_is_bound_to_no_pod_is_refused(self):
        self.refuse(UNAUTHENTICATED, "isn't bound to a pod", self.token(None), "one")

    def test_garbage_is_refused(self):
        for garbage in ("", "x", "a.b.c" * 9, "\u00fc.\u00fc.\u00fcxxxxxxxxxxxx", "x" * 20000, "../../pods." + "a.b" * 9):
            status, message, certificate = self.join(garbage, "one")
            self.assertEqual((status, certificate), (UNAUTHENTICATED, None), message)
        head, claims, signature = self.token("agent-one").split(".")
        self.refuse(UNAUTHENTICATED, "the API server doesn't accept the token", f"{head}.{claims}.{signature[::-1]}", "one")

    def test_an_api_server_that_answers_nonsense_lets_nobody_in(self):
        for fault in (429, 500, 503, "garbage", "nothing"):
            token = self.token("agent-two")
            for path in ("tokenreviews", "/pods/agent-two$"):
                self.faults.rules = [(method, path, fault) for method in ("GET", "POST")]
                try:
                    status, message, certificate = self.join(token, "two")
                finally:
                    self.faults.rules = []
                self.assertEqual((status, certificate), (UNAVAILABLE, None), f"{fault} of {path}: {message}")
            # And the next try passes.
            self.assertEqual(self.join(token, "two")[0], 0)

    def test_a_token_review_that_hangs_keeps_no_other_agent_out(self):
        slow, fresh, known = self.token("agent-two"), self.token("agent-one"), self.token("agent-one")
        self.assertEqual(self.join(known, "one")[0], 0)
        self.faults.rules = [("POST", "tokenreviews", "silence")]
        answers = []
        waiting = [threading.Thread(target=lambda token=token, node=node: answers.append(self.join(token, node))) for token, node in ((slow, "two"), (fresh, "one"))]
        try:
            for thread in waiting:
                thread.start()
            # Whose token was reviewed a moment ago needs no review.
            self.assertEqual(self.join(known, "one")[:2], (0, ""))
            for thread in waiting:
                thread.join(45)
        finally:
            self.faults.rules = []
        self.assertEqual([(status, certificate) for status, _, certificate in answers], [(UNAVAILABLE, None)] * 2, answers)
        self.assertEqual(self.join(slow, "two")[0], 0)

    def test_an_api_server_that_is_away_lets_nobody_in(self):
        token = self.token("agent-two")
        self.cluster.stop("api", signal.SIGKILL)
        try:
            status, message, certificate = self.join(token, "two")
            self.assertEqual((status, certificate), (UNAVAILABLE, None), message)
            self.assertEqual(self.control.probe("live"), 200)
            self.assertEqual(self.control.probe("ready"), 200)
        finally:
            self.cluster.start_api()
        self.assertEqual(self.join(token, "two")[0], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
