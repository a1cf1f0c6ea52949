#!/usr/bin/env python3
"""Statuses, Events and the Lease: two replicas of weft-control before a real API server.

Usage: test_status.py PATH-TO-weft-control; the API server is build.sh's. Needs grpcio.
"""
import os, signal, sys, tempfile, time, unittest
import yaml
from agent import Agent, pem, request
from cluster import Cluster
from control import Control
from faults import Faults
from test_source import definition

CONTROL = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "weft-control"
GATEWAY = "gateway.networking.k8s.io"
ROUTES, POLICIES = f"/apis/{GATEWAY}/v1/namespaces/shop/httproutes", "/apis/weft.dev/v1alpha1/namespaces/shop/trafficpolicies"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/weft-system/leases/weft-control"
DELIVERIES = "/api/v1/namespaces/weft-system/configmaps/weft-deliveries"
MERGE = "application/merge-patch+json"
OTHER = {"parentRef": {"group": GATEWAY, "kind": "Gateway", "name": "edge"}, "controllerName": "other.example/gateway",
    "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
SERVICE = {"group": "", "kind": "Service", "name": "web"}


class Status(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.__exit__)
        cls.cluster.allow_control()
        cls.cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": "shop", "labels": {"weft.dev/mesh": "enabled"}}})
        for group, version, kind, plural in [(GATEWAY, "v1", "HTTPRoute", "httproutes"), ("weft.dev", "v1alpha1", "TrafficPolicy", "trafficpolicies")]:
            cls.cluster.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition(group, version, kind, plural))
        cls.cluster.wait_until(lambda: all(cls.cluster.is_served(path) for path in (ROUTES, POLICIES)), "the definitions")
        cls.cluster.call("POST", "/api/v1/namespaces/shop/services", {
            "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]}})
        cls.cluster.call("POST", "/api/v1/nodes", {"metadata": {"name": "one"}})
        cls.cluster.call("POST", "/api/v1/namespaces/weft-system/serviceaccounts", {"metadata": {"name": "weft-agent"}})
        cls.cluster.call("POST", "/api/v1/namespaces/shop/pods", {"metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {"nodeName": "one", "containers": [{"name": "c", "image": "i"}]}})
        cls.cluster.call("PATCH", "/api/v1/namespaces/shop/pods/web/status", {"status": {"phase": "Running", "podIP": "10.1.0.1"}}, MERGE)
        cls.faults = Faults(cls.cluster)
        cls.addClassCleanup(cls.faults.stop)

    def setUp(self):
        self.faults.rules = []
        self.faults.seen.clear()
        # A replica that was killed is waited for, a minute and a half: not by the next test too.
        if self.cluster.exists(DELIVERIES):
            self.cluster.call("DELETE", DELIVERIES)
        for path in (ROUTES, POLICIES):
            for item in self.cluster.call("GET", path)["items"]:
                self.cluster.call("DELETE", f"{path}/{item['metadata']['name']}")

    def start(self, name="one", ready=True):
        tokens = f"{self.cluster.folder}/tokens-{name}"
        with open(tokens, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write("one secret-of-node-one\n")
        control = Control(CONTROL, self.cluster, name, self.faults.url, ["--join-tokens", tokens, "--advertise", "weft-control"])
        self.addCleanup(control.end)
        return control.ready() if ready else control

    def leader(self, *controls):
        def found():
            lease = self.cluster.exists(LEASE)
            holder = lease and lease["spec"]["holderIdentity"].split("_")[0]
            return next((control for control in controls if control.name == holder and "leads the replicas" in control.lines()), None)
        return controls[0].wait("a leader", found)

    def agent(self, control, refuse=lambda type_url, name: None):
        identity = "spiffe://cluster.local/node/one"
        key, wanted = request(identity)
        status, message, certificate = control.join("secret-of-node-one", identity, "one", wanted)
        self.assertEqual(status, 0, message)
        roots = control.wait("the roots", lambda: self.cluster.exists("/api/v1/namespaces/weft-system/configmaps/weft-roots"))["data"]["ca.pem"]
        agent = Agent("one", key, pem(certificate), roots.encode(), refuse=refuse).connect(control.ports["discovery"])
        self.addCleanup(agent.close)
        return agent

    def route(self, name, parents=(SERVICE,), backend="web", **spec):
        return self.cluster.call("POST", ROUTES, {"apiVersion": f"{GATEWAY}/v1", "kind": "HTTPRoute", "metadata": {"name": name},
            "spec": {"parentRefs": list(parents), "rules": [{"backendRefs": [{"name": backend, "port": 80}]}], **spec}})

    def get(self, name, path=ROUTES):
        return self.cluster.call("GET", f"{path}/{name}")

    def parents(self, name):
        return self.get(name).get("status", {}).get("parents", [])

    def own(self, name):
        return [entry for entry in self.parents(name) if entry["controllerName"] == "weft.dev/mesh"]

    def conditions(self, name, path=ROUTES):
        found = self.own(name)[0]["conditions"] if path == ROUTES and self.own(name) else self.get(name, path).get("status", {}).get("conditions", [])
        return {entry["type"]: entry for entry in found}

    def verdicts(self, name, path=ROUTES):
        return {kind: (entry["status"], entry["reason"]) for kind, entry in self.conditions(name, path).items()}

    def events(self, reason, namespace="shop"):
        return [event for event in self.cluster.call("GET", f"/api/v1/namespaces/{namespace}/events")["items"] if event["reason"] == reason]

    def rest(self, name, seconds=4, path=ROUTES):
        """Nothing is written for a while."""
        before = self.get(name, path)["metadata"]["resourceVersion"]
        time.sleep(seconds)
        self.assertEqual(self.get(name, path)["metadata"]["resourceVersion"], before)

    def test_a_routes_status_says_how_it_fares(self):
        control = self.start()
        self.agent(control)
        self.route("good")
        self.route("lost", backend="nowhere")
        self.route("orphan", parents=[{**SERVICE, "name": "nobody"}])
        good = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs"), "Programmed": ("True", "Programmed")}
        control.wait("the good one", lambda: self.verdicts("good") == good)
        control.wait("the lost one", lambda: self.verdicts("lost").get("ResolvedRefs") == ("False", "BackendNotFound"))
        control.wait("the orphan", lambda: self.verdicts("orphan").get("Accepted") == ("False", "NoMatchingParent"))
        self.assertEqual(self.verdicts("orphan")["Programmed"], ("False", "NotAccepted"))
        self.assertEqual(self.own("good")[0]["parentRef"], SERVICE)
        self.assertEqual(self.conditions("good")["Accepted"]["observedGeneration"], 1)
        self.rest("good")
        # It follows, and what holds on has held since.
        since = self.conditions("lost")["Accepted"]["lastTransitionTime"]
        time.sleep(1.1)
        self.cluster.call("PATCH", f"{ROUTES}/lost", {"spec": {"rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}}, MERGE)
        control.wait("its repair", lambda: self.verdicts("lost") == good)
        self.assertEqual(self.conditions("lost")["Accepted"]["observedGeneration"], 2)
        self.assertEqual(self.conditions("lost")["Accepted"]["lastTransitionTime"], since)
        self.assertGreater(self.conditions("lost")["ResolvedRefs"]["lastTransitionTime"], since)

    def test_what_the_schema_admits_and_the_mesh_cannot_serve_is_said(self):
        control = self.start()
        self.route("bad", rules=[{"matches": [{"path": {"type": "RegularExpression", "value": "("}}]}])
        control.wait("the refusal", lambda: self.verdicts("bad").get("Accepted") == ("False", "UnsupportedValue"))
        self.assertIn("spec.rules[0].matches[0].path", self.conditions("bad")["Accepted"]["message"])
        event = control.wait("the event", lambda: self.events("Refused"))[0]
        self.assertEqual((event["involvedObject"]["name"], event["type"]), ("bad", "Warning"))
        self.assertEqual(event["involvedObject"]["uid"], self.get("bad")["metadata"]["uid"])
        self.rest("bad")

    def test_other_controllers_entries_stay(self):
        gateway = {"group": GATEWAY, "kind": "Gateway", "name": "edge"}
        self.route("shared", parents=[gateway, SERVICE])
        self.cluster.call("PATCH", f"{ROUTES}/shared/status", {"status": {"parents": [OTHER]}}, MERGE)
        control = self.start()
        control.wait("our entry", lambda: self.own("shared"))
        self.assertEqual([entry for entry in self.parents("shared") if entry not in self.own("shared")], [OTHER])
        # The other one writes too, and more than once; nobody loses.
        for index in range(5):
            other = {**OTHER, "conditions": [{**OTHER["conditions"][0], "message": str(index)}]}
            self.cluster.call("PATCH", f"{ROUTES}/shared/status", {"status": {"parents": [other]}}, MERGE)
            control.wait("our entry again", lambda: self.own("shared"))
            self.assertIn(other, self.parents("shared"))
        # Our parent goes, and so does our entry.
        self.cluster.call("PATCH", f"{ROUTES}/shared", {"spec": {"parentRefs": [gateway]}}, MERGE)
        control.wait("its end", lambda: not self.own("shared"))
        self.assertEqual(len(self.parents("shared")), 1)
        self.rest("shared")

    def test_a_node_that_refuses_it_is_named(self):
        control = self.start()
        self.agent(control, refuse=lambda url, name: "no such thing here" if name == "HTTPRoute/shop/hard" else None)
        self.route("hard")
        control.wait("the word of the node", lambda: self.verdicts("hard").get("Programmed") == ("False", "RefusedByNode"))
        self.assertIn("node one: no such thing here", self.conditions("hard")["Programmed"]["message"])
        control.wait("the event", lambda: self.events("RefusedByNode"))
        self.rest("hard")

    def test_policies_have_conditions(self):
        control = self.start()
        self.agent(control)
        for name, target in (("good", "web"), ("lost", "nobody")):
            self.cluster.call("POST", POLICIES, {"apiVersion": "weft.dev/v1alpha1", "kind": "TrafficPolicy", "metadata": {"name": name},
                "aFieldOfTomorrow": True, "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": target}], "timeouts": {"request": "1s"}}})
        control.wait("the good one", lambda: self.verdicts("good", POLICIES) == {
            "Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs"), "Programmed": ("True", "Programmed")})
        control.wait("the lost one", lambda: self.verdicts("lost", POLICIES).get("ResolvedRefs") == ("False", "TargetNotFound"))
        self.rest("good", path=POLICIES)

    def test_unknown_fields_of_an_older_definition_are_named(self):
        control = self.start()
        self.agent(control)
        for name, more in (("good", {}), ("newer", {"turbo": True, "clients": [{"namespace": "shop"}]})):
            self.cluster.call("POST", POLICIES, {"apiVersion": "weft.dev/v1alpha1", "kind": "TrafficPolicy", "metadata": {"name": name},
                "spec": {"targetRefs": [{"kind": "Service", "name": "web"}], "timeouts": {"request": "1s"}, **more}})
        said = lambda name: (self.conditions(name, POLICIES).get("Accepted") or {"status": "", "message": ""})
        control.wait("what isn't applied to be said", lambda: (said("newer")["status"], "spec.turbo" in said("newer")["message"]) == ("True", True))
        control.wait("the good one", lambda: (self.verdicts("good", POLICIES).get("Programmed"), said("good")["message"]) == (("True", "Programmed"), "Accepted is True"))
        # The definition of this version drops it, and there is nothing to say any more.
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/trafficpolicies.weft.dev"
        before = self.cluster.call("GET", path)["spec"]
        self.addCleanup(lambda: self.cluster.call("PUT", path, {**self.cluster.call("GET", path), "spec": before}))
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../deploy/crds/trafficpolicies.yaml")) as file:
            self.cluster.call("PUT", path, {**self.cluster.call("GET", path), "spec": yaml.safe_load(file)["spec"]})
        control.wait("both to be accepted as they are", lambda: all(said(name)["message"] == "Accepted is True" for name in ("good", "newer")), 30)

    def test_the_lease_passes_on_and_statuses_do_not_flap(self):
        one, two = self.start("one"), self.start("two")
        self.route("steady")
        leader = self.leader(one, two)
        follower = two if leader is one else one
        leader.wait("the status", lambda: self.own("steady"))
        self.rest("steady")
        # Given up at the end, not waited for.
        leader.end()
        self.assertIs(self.leader(follower), follower)
        self.assertIn("gave the Lease up", leader.lines())
        self.rest("steady")
        self.route("later")
        follower.wait("its status", lambda: self.own("later"))

    def test_what_nodes_of_another_replica_refuse_the_leader_tells(self):
        one, two = self.start("one"), self.start("two")
        leader = self.leader(one, two)
        follower = two if leader is one else one
        refused = {"HTTPRoute/shop/hard"}
        agent = self.agent(follower, refuse=lambda url, name: "no such thing here" if name in refused else None)
        self.route("easy")
        follower.wait("the word of its node", lambda: self.verdicts("easy").get("Programmed") == ("True", "Programmed"))
        self.route("hard")
        leader.wait("its refusal", lambda: self.verdicts("hard").get("Programmed") == ("False", "RefusedByNode"))
        self.assertIn("node one: no such thing here", self.conditions("hard")["Programmed"]["message"])
        self.assertEqual(self.verdicts("easy")["Programmed"], ("True", "Programmed"))
        self.rest("hard")
        # It takes the next version.
        refused.clear()
        self.cluster.call("PATCH", f"{ROUTES}/hard", {"spec": {"rules": [{"backendRefs": [{"name": "web", "port": 80, "weight": 2}]}]}}, MERGE)
        leader.wait("its consent", lambda: self.verdicts("hard").get("Programmed") == ("True", "Programmed"))
        # What nobody stands for any more is not kept.
        follower.end()
        leader.wait("the end of its report", lambda: list(self.cluster.exists(DELIVERIES).get("data", {})) == [leader.name])
        self.rest("hard")
        agent.close()

    def test_a_leader_that_dies_is_followed(self):
        one, two = self.start("one"), self.start("two")
        leader = self.leader(one, two)
        follower = two if leader is one else one
        leader.end(signal.SIGKILL)
        self.route("after")
        follower.wait("the status by the next one", lambda: self.own("after"), 40)
        self.assertIn("leads the replicas", follower.lines())

    def test_two_leaders_for_an_instant_write_the_same(self):
        one, two = self.start("one"), self.start("two")
        leader = self.leader(one, two)
        self.route("same")
        leader.wait("its status", lambda: self.own("same"))
        before = self.get("same")
        # The Lease is torn away: the other one leads while the first one may still believe that it does.
        self.cluster.call("PATCH", LEASE, {"spec": {"holderIdentity": ""}}, MERGE)
        for index in range(10):
            self.route(f"more-{index}")
        leader.wait("all of them", lambda: all(len(self.own(f"more-{index}")) == 1 for index in range(10)))
        time.sleep(3)
        self.assertEqual(self.get("same"), before)
        self.assertTrue(all(self.get(f"more-{index}")["metadata"]["generation"] == 1 for index in range(10)))

    def test_writes_that_fail_are_made_later(self):
        control = self.start()
        self.leader(control)
        for fault in (429, 500, "garbage", "nothing"):
            self.faults.rules = [("PATCH", "/status", fault)]
            name = f"late-{fault}"
            self.route(name)
            control.wait(f"the complaint of {fault}", lambda: control.lines().count("statuses can't be written") > 0)
            self.assertEqual(self.own(name), [])
            self.faults.rules = []
            control.wait(f"the status after {fault}", lambda: self.own(name), 40)
        self.assertLess(len([path for method, path in self.faults.seen if method == "PATCH" and "/status" in path]), 60)

    def test_a_refused_node_is_told_of(self):
        control = self.start()
        # A ServiceAccount's token that proves nothing, by whoever says that it is node one.
        self.assertEqual(control.join("a" * 20 + ".b.c", "spiffe://cluster.local/node/one", "one")[0], 16)
        event = control.wait("the event", lambda: self.events("JoinRefused", "default"))[0]
        self.assertEqual((event["involvedObject"]["kind"], event["involvedObject"]["name"]), ("Node", "one"))
        # Of names that nobody has, none.
        self.assertEqual(control.join("a" * 20 + ".b.c", "spiffe://cluster.local/node/nobody", "nobody")[0], 16)
        time.sleep(1)
        self.assertEqual(len(self.events("JoinRefused", "default")), 1)

    def test_every_kind_has_a_status(self):
        kinds = [(GATEWAY, "v1", "GRPCRoute", "grpcroutes"), (GATEWAY, "v1alpha2", "TCPRoute", "tcproutes"),
            (GATEWAY, "v1alpha2", "TLSRoute", "tlsroutes"), ("weft.dev", "v1alpha1", "PeerAuthentication", "peerauthentications")]
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        paths = {}
        for group, version, kind, plural in kinds:
            self.cluster.call("POST", definitions, definition(group, version, kind, plural))
            self.addCleanup(self.cluster.call, "DELETE", f"{definitions}/{plural}.{group}")
            namespace = "weft-system" if kind == "PeerAuthentication" else "shop"
            paths[kind] = f"/apis/{group}/{version}/namespaces/{namespace}/{plural}"
        self.cluster.wait_until(lambda: all(self.cluster.is_served(path) for path in paths.values()), "the definitions", 30)
        rules = [{"backendRefs": [{"name": "web", "port": 80}]}]
        for kind, path in paths.items():
            spec = {"mtls": {"mode": "PERMISSIVE"}} if kind == "PeerAuthentication" else {"parentRefs": [SERVICE], "rules": rules}
            if kind == "TLSRoute":
                spec["hostnames"] = ["web.example"]
            version = path.split("/")[3]
            self.cluster.call("POST", path, {"apiVersion": f"{path.split('/')[2]}/{version}", "kind": kind, "metadata": {"name": "default"}, "spec": spec})
        control = self.start()
        for kind, path in paths.items():
            def accepted():
                status = self.get("default", path).get("status", {})
                parents = status.get("parents", [status])
                return [entry for parent in parents for entry in parent.get("conditions", []) if entry["type"] == "Accepted"]
            found = control.wait(f"the status of the {kind}", accepted, 40)
            # A TCPRoute goes after a GRPCRoute of the same Service.
            self.assertEqual([entry["reason"] for entry in found], ["Conflicted" if kind == "TCPRoute" else "Accepted"], (kind, found))

    def test_a_pod_that_its_node_does_not_carry_is_told_of(self):
        control = self.start()
        agent = self.agent(control)
        agent.wait(lambda agent: agent.answered, "the first answer")
        self.cluster.call("POST", "/api/v1/namespaces/shop/pods", {"metadata": {"name": "elsewhere"},
            "spec": {"nodeName": "two", "containers": [{"name": "c", "image": "i"}]}})
        control.wait("the other pod", lambda: '"elsewhere"' in control.status())
        self.addCleanup(lambda: self.cluster.call("DELETE", "/api/v1/namespaces/shop/pods/elsewhere?gracePeriodSeconds=0"))
        for _ in range(3):
            self.assertEqual(agent.report(shop_web="no sockets", shop_elsewhere="it isn't mine", shop_ghost="nobody", nonsense="x").name, "OK")
        event = control.wait("the event", lambda: self.events("NotEnrolled"))[0]
        self.assertEqual((event["involvedObject"]["kind"], event["involvedObject"]["name"]), ("Pod", "web"))
        self.assertEqual(event["message"], "node one doesn't carry it: no sockets")
        # What is too much is refused, of pods of other nodes nothing is said.
        self.assertEqual(agent.report(shop_web="x" * 1025).name, "INVALID_ARGUMENT")
        self.assertEqual(agent.report(**{f"shop_{index}": "x" for index in range(65)}).name, "INVALID_ARGUMENT")
        time.sleep(1)
        self.assertEqual(len(self.events("NotEnrolled")), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
