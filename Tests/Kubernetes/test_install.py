#!/usr/bin/env python3
"""weft install, upgrade and uninstall, the manifests' rights and schemas, against a real API server with its controllers.

Usage: test_install.py PATH-TO-weft-control, with weft beside it; the servers are build.sh's.
"""
import json, os, subprocess, sys, unittest
from cluster import Cluster, TOKEN
from paper_nodes import PaperNodes, start_controllers

WEFT = os.path.join(os.path.dirname(os.path.abspath(sys.argv.pop(1))), "weft")
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
KINDS = "all,cm,secrets,sa,roles,rolebindings,pdb,leases"
GLOBAL = "ns,clusterroles,clusterrolebindings,priorityclasses,mutatingwebhookconfigurations,crd"


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.__exit__)
        start_controllers(cls.cluster)
        cls.config = cls.cluster.kubeconfig(TOKEN)
        cls.nodes = PaperNodes(cls.cluster, ["one", "two", "three"])
        cls.addClassCleanup(cls.nodes.stop)

    def setUp(self):
        self.nodes.broken = set()
        self.addCleanup(lambda: self.weft("uninstall", "--crds"))

    def program(self, *arguments, stdin=None, status=0):
        result = subprocess.run(arguments, input=stdin, capture_output=True, text=True, timeout=120,
            env={**os.environ, "KUBECONFIG": self.config})
        if status is not None:
            self.assertEqual(result.returncode, status, f"{arguments}: {result.stdout}{result.stderr}")
        return result.stdout + result.stderr

    def weft(self, *arguments, status=0):
        return self.program(WEFT, *arguments, status=status)

    def kubectl(self, *arguments, stdin=None, status=0):
        return self.program("kubectl", *arguments, stdin=stdin, status=status)

    def names(self):
        """Every object that an installation could leave."""
        return set(self.kubectl("get", GLOBAL, "-o", "name").split()) | set(
            self.kubectl("get", KINDS, "-n", "weft-system", "-o", "name", status=None).split())

    def get(self, kind, name):
        return json.loads(self.kubectl("get", kind, name, "-n", "weft-system", "-o", "json"))

    def test_the_program_holds_what_deploy_says(self):
        self.program(f"{ROOT}/deploy/embed.py", "--check")

    def test_dry_run_prints_what_kubectl_applies(self):
        for overlay in ("standard", "small", "high-availability", "stub-only"):
            text = self.weft("install", "--dry-run", "--overlay", overlay)
            self.assertEqual(self.kubectl("get", "ns", "weft-system", status=1).count("NotFound"), 1)
            # The namespace isn't there in a dry run: only the whole of its objects can be checked then.
            self.kubectl("create", "namespace", "weft-system")
            self.kubectl("apply", "-f", "-", "--dry-run=server", stdin=text)
            self.kubectl("delete", "namespace", "weft-system")
        self.kubectl("apply", "-f", "-", stdin=text)

    def test_installed_twice_upgraded_and_removed_nothing_is_left(self):
        before = self.names()
        text = self.weft("install", "--overlay", "high-availability", "--set", "log.level=debug")
        self.assertIn("weft-control: 3 of 3 replicas", text)
        self.assertIn("weft-agent: 3 of 3 nodes", text)
        versions = {name: self.get(*name.split("/"))["metadata"]["resourceVersion"] for name in self.mine()}
        self.weft("install", "--overlay", "high-availability", "--set", "log.level=debug")
        again = {name: self.get(*name.split("/"))["metadata"]["resourceVersion"] for name in self.mine()}
        self.assertEqual({name for name in versions if versions[name] != again[name]}, set())
        # What another version had goes, and the settings stay.
        self.kubectl("create", "serviceaccount", "old", "-n", "weft-system")
        self.kubectl("label", "serviceaccount", "old", "-n", "weft-system", "app.kubernetes.io/part-of=weft")
        shown = self.weft("upgrade", "--dry-run", "--set", "agent.cpu=150m")
        self.assertIn("changed  DaemonSet weft-system/weft-agent: spec.template.spec.containers[0].resources.requests.cpu", shown)
        self.assertIn("removed  ServiceAccount weft-system/old", shown)
        self.assertEqual(len(shown.splitlines()), 5, shown)
        self.assertEqual(self.get("daemonset", "weft-agent")["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"], "100m")
        text = self.weft("upgrade", "--set", "agent.cpu=150m")
        for node in ("one", "two", "three"):
            self.assertIn(f"{node}: its agent is replaced", text)
        self.kubectl("get", "serviceaccount", "old", "-n", "weft-system", status=1)
        container = self.get("daemonset", "weft-agent")["spec"]["template"]["spec"]["containers"][0]
        self.assertEqual(container["resources"]["requests"]["cpu"], "150m")
        self.assertIn("--log-level=debug", container["args"])
        self.assertEqual(self.get("deployment", "weft-control")["status"]["availableReplicas"], 3)
        # Three replicas that must not share a node, on three nodes.
        self.weft("upgrade", "--set", "control.cpu=150m", "--timeout", "60")
        self.assertEqual(self.get("deployment", "weft-control")["status"]["updatedReplicas"], 3)
        text = self.weft("uninstall", "--crds")
        self.assertIn("3 nodes are clean", text)
        self.assertEqual(self.names(), before)
        self.assertIn("nothing was left", self.weft("uninstall", "--crds"))

    def mine(self):
        names = self.kubectl("get", f"{GLOBAL},cm,sa,svc,roles,rolebindings,pdb", "-n", "weft-system",
            "-l", "app.kubernetes.io/part-of=weft", "-o", "name")
        return [name for name in names.split() if not name.startswith("namespace/")]

    def test_an_upgrade_that_fails_stops_and_can_be_uninstalled_in_the_middle(self):
        before = self.names()
        self.weft("install", "--overlay", "small")
        self.nodes.broken = {"ghcr.io/weft-mesh/weft-agent:broken"}
        text = self.weft("upgrade", "--set", "image.tag=broken", "--timeout", "20", status=1)
        self.assertIn("weft-agent waits: ErrImagePull: no image ghcr.io/weft-mesh/weft-agent:broken", text)
        # The others go on with what they had.
        images = [pod["spec"]["containers"][0]["image"] for pod in self.cluster.call(
            "GET", "/api/v1/namespaces/weft-system/pods?labelSelector=app.kubernetes.io/name=weft-agent")["items"]]
        self.assertEqual(sorted(images).count("ghcr.io/weft-mesh/weft-agent:0.1.0"), 2, images)
        # The image that can't be had isn't what cleans.
        self.assertIn("3 nodes are clean", self.weft("uninstall", "--crds"))
        self.assertEqual(self.names(), before)

    def test_an_uninstall_while_an_upgrade_goes_on(self):
        before = self.names()
        self.weft("install", "--overlay", "small")
        self.nodes.broken = {"ghcr.io/weft-mesh/weft-agent:broken"}
        upgrade = subprocess.Popen([WEFT, "upgrade", "--set", "image.tag=broken", "--timeout", "60"], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "KUBECONFIG": self.config})
        self.addCleanup(upgrade.kill)
        self.cluster.wait_until(lambda: "weft-agent:broken" in json.dumps(self.get("daemonset", "weft-agent")["spec"]), "the upgrade to reach the agents", 60)
        self.assertIn("3 nodes are clean", self.weft("uninstall", "--crds"))
        said = upgrade.communicate(timeout=70)[0]
        self.assertNotEqual(upgrade.returncode, 0, said)
        self.assertIn("deleted meanwhile", said)
        self.assertEqual(self.names(), before)

    def test_an_overlay_without_agents_cleans_the_nodes_first(self):
        self.weft("install", "--overlay", "small")
        self.assertIn("weft upgrade --overlay stub-only changes it", self.weft("install", "--overlay", "stub-only", status=1))
        text = self.weft("upgrade", "--overlay", "stub-only")
        self.assertIn("3 nodes are clean", text)
        self.assertLess(text.index("3 nodes are clean"), text.index("objects applied"), text)
        self.kubectl("get", "daemonset", "weft-agent", "-n", "weft-system", status=1)
        webhooks = self.get("mutatingwebhookconfiguration", "weft-injector")["webhooks"]
        self.assertEqual([webhook["failurePolicy"] for webhook in webhooks], ["Fail", "Fail", "Fail", "Ignore"])
        self.weft("upgrade", "--overlay", "small")
        # As where an upgrade to that ended before the agents went.
        self.kubectl("patch", "configmap", "weft-installation", "-n", "weft-system", "-p", '{"data":{"overlay":"stub-only"}}')
        self.assertIn("3 nodes are clean", self.weft("uninstall", "--crds"))

    def test_an_uninstall_that_can_not_clean_a_node_keeps_the_rest_for_another_try(self):
        before = self.names()
        self.weft("install", "--overlay", "small")
        self.nodes.broken = {"registry.example/clean:none"}
        text = self.weft("uninstall", "--crds", "--image", "registry.example/clean:none", "--timeout", "15", status=1)
        self.assertIn("one: weft-agent waits: ErrImagePull", text)
        self.kubectl("get", "configmap", "weft-installation", "-n", "weft-system")
        # As weft-control writes it where stubs are.
        self.kubectl("create", "configmap", "weft-roots", "-n", "default")
        self.weft("uninstall", "--crds")
        self.kubectl("get", "configmap", "weft-roots", "-n", "default", status=1)
        self.assertEqual(self.names(), before)

    def test_nodes_that_are_left_out_get_no_agent_and_are_cleaned_of_the_one_that_they_had(self):
        before = self.names()
        for name, labels in (("apart", {"weft.dev/agent": "disabled"}), ("virtual", {"type": "virtual-kubelet"})):
            self.nodes.add(name, labels)
            self.addCleanup(self.nodes.remove, name)
        self.assertIn("2 nodes without an agent by choice: apart, virtual", self.weft("check", "--pre", status=None))
        self.assertIn("weft-agent: 3 of 3 nodes", self.weft("install", "--overlay", "small"))
        self.assertEqual(self.agents(), ["one", "three", "two"])
        self.kubectl("label", "node", "three", "weft.dev/agent=disabled")
        self.addCleanup(self.kubectl, "label", "node", "three", "weft.dev/agent-")
        self.assertIn("weft-agent: 2 of 2 nodes", self.weft("upgrade", "--set", "agent.cpu=150m"))
        self.cluster.wait_until(lambda: self.agents() == ["one", "two"], "the agent of the node that is left out now to go")
        # Nothing ran on `virtual`, and nothing can.
        self.assertIn("4 nodes are clean", self.weft("uninstall", "--crds"))
        self.assertEqual(self.names(), before)

    def test_a_node_that_is_not_ready_stops_nothing_but_its_own_cleaning(self):
        before = self.names()
        self.nodes.add("away", away=True)
        self.addCleanup(self.nodes.remove, "away")
        text = self.weft("install", "--overlay", "small")
        self.assertIn("weft-agent: 3 of 4 nodes", text)
        self.assertIn("nodes that aren't ready get their agent once they are: away\n", text)
        # It counts as the one that may be unavailable.
        text = self.weft("upgrade", "--set", "agent.cpu=150m", "--timeout", "20", status=1)
        self.assertIn("unavailable: away; weft upgrade --set agent.maxUnavailable=2 goes on with the other nodes", text)
        text = self.weft("upgrade", "--set", "agent.maxUnavailable=2")
        for node in ("one", "two", "three"):
            self.assertIn(f"{node}: its agent is replaced", text)
        self.assertIn("nodes that aren't ready get their agent once they are: away\n", text)
        self.assertEqual(self.get("daemonset", "weft-agent")["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], 2)
        text = self.weft("uninstall", "--crds", "--timeout", "30", status=1)
        self.assertIn("  away: isn't ready\n", text)
        self.assertIn("3 nodes are clean, 1 are waited for", text)
        text = self.weft("uninstall", "--crds", "--skip-nodes", "away")
        self.assertIn("3 nodes are clean", text)
        self.assertIn("Not cleaned: away.", text)
        self.assertEqual(self.names(), before)

    def agents(self):
        """The nodes that have one."""
        return sorted(pod["spec"].get("nodeName", "") for pod in self.cluster.call(
            "GET", "/api/v1/namespaces/weft-system/pods?labelSelector=app.kubernetes.io/name=weft-agent")["items"])

    def test_what_can_not_be_done_says_why(self):
        self.assertIn("isn't installed here", self.weft("upgrade", status=1))
        self.assertIn("did you mean control.replicas?", self.weft("install", "--set", "control.replica=3", status=2))
        self.nodes.broken = {"registry.example/none/weft-control:1"}
        text = self.weft("install", "--set", "image.registry=registry.example/none", "--set", "image.tag=1",
            "--timeout", "15", status=1)
        self.assertIn("weft-control waits: ErrImagePull", text)
        reader = self.cluster.kubeconfig()
        text = self.weft("install", "--kubeconfig", reader, status=1)
        self.assertIn("weft check --pre", text)

    def test_a_cluster_is_checked_before(self):
        text = self.weft("check", "--pre", status=1)
        self.assertIn("Kubernetes 1.20", text)
        self.assertIn("nothing refuses agents", text)
        self.assertIn("not installed: grpcroutes, httproutes, referencegrants", text)
        self.assertIn("of this user are enough", text)
        for kind in ("grpcroutes", "httproutes", "referencegrants"):
            self.kubectl("apply", "-f", f"{ROOT}/Tests/Kubernetes/gateway/{kind}.yaml")
            self.addCleanup(self.kubectl, "delete", "-f", f"{ROOT}/Tests/Kubernetes/gateway/{kind}.yaml")
            self.cluster.wait_until(lambda: self.cluster.is_served(f"/apis/gateway.networking.k8s.io/v1/{kind}"), kind)
        text = self.weft("check", "--pre")
        self.assertIn("none yet", text)
        # Whoever may do nothing is told what is missing.
        text = self.weft("check", "--pre", "--kubeconfig", self.cluster.kubeconfig(), status=1)
        self.assertIn("refuses it", text)

    def test_accounts_may_do_what_they_need_and_nothing_else(self):
        self.weft("install", "--overlay", "small")
        control = "system:serviceaccount:weft-system:weft-control"
        for verb, what, namespace in [
            ("watch", "pods", "shop"), ("list", "endpointslices.discovery.k8s.io", "shop"), ("list", "nodes", ""),
            ("watch", "httproutes.gateway.networking.k8s.io", "shop"), ("list", "trafficpolicies.weft.dev", "shop"),
            ("patch", "httproutes.gateway.networking.k8s.io/status", "shop"), ("patch", "trafficpolicies.weft.dev/status", "shop"),
            ("create", "tokenreviews.authentication.k8s.io", ""), ("create", "events", "shop"),
            ("create", "secrets", "weft-system"), ("get", "secrets/weft-ca", "weft-system"),
            ("patch", "configmaps/weft-roots", "weft-system"), ("update", "leases.coordination.k8s.io/weft-control", "weft-system"),
            ("patch", "mutatingwebhookconfigurations.admissionregistration.k8s.io/weft-injector", ""),
        ]:
            self.assertTrue(self.may(control, verb, what, namespace), (verb, what, namespace))
        for verb, what, namespace in [
            ("get", "secrets", "shop"), ("list", "secrets", "weft-system"), ("get", "secrets/other", "weft-system"),
            ("delete", "secrets/weft-ca", "weft-system"), ("update", "secrets/weft-ca", "weft-system"), ("update", "httproutes.gateway.networking.k8s.io/status", "shop"),
            ("patch", "leases.coordination.k8s.io/weft-control", "weft-system"), ("update", "configmaps/weft-roots", "weft-system"), ("get", "configmaps", "shop"), ("create", "pods", "weft-system"),
            ("patch", "pods", "shop"), ("create", "pods/exec", "shop"), ("update", "httproutes.gateway.networking.k8s.io", "shop"),
            ("patch", "trafficpolicies.weft.dev", "shop"), ("patch", "nodes", ""), ("impersonate", "users", ""),
            ("patch", "mutatingwebhookconfigurations.admissionregistration.k8s.io/other", ""), ("create", "serviceaccounts/token", "shop"),
            ("create", "secrets", "shop"), ("get", "clusterroles.rbac.authorization.k8s.io", ""),
        ]:
            self.assertFalse(self.may(control, verb, what, namespace), (verb, what, namespace))
        agent = "system:serviceaccount:weft-system:weft-agent"
        for verb in ("get", "list", "watch", "create", "patch", "delete"):
            for what in ("pods", "secrets", "configmaps", "nodes", "services", "trafficpolicies.weft.dev"):
                self.assertFalse(self.may(agent, verb, what, "weft-system"), (verb, what))
        # Aggregated: whoever may edit a namespace may edit its policies.
        self.kubectl("create", "namespace", "shop")
        self.addCleanup(self.kubectl, "delete", "namespace", "shop")
        self.kubectl("create", "rolebinding", "e", "--clusterrole=edit", "--user=ed", "-n", "shop")
        self.kubectl("create", "rolebinding", "v", "--clusterrole=view", "--user=vi", "-n", "shop")
        self.cluster.wait_until(lambda: self.may("vi", "list", "trafficpolicies.weft.dev", "shop"), "the aggregation")
        self.assertTrue(self.may("ed", "create", "trafficpolicies.weft.dev", "shop"))
        self.assertFalse(self.may("vi", "create", "trafficpolicies.weft.dev", "shop"))
        self.assertFalse(self.may("ed", "create", "trafficpolicies.weft.dev", "other"))

    def may(self, who, verb, what, namespace):
        """What a SubjectAccessReview says of `pods`, `pods/exec`, `secrets/weft-ca`, `leases.coordination.k8s.io/name`."""
        kind, _, rest = what.partition("/")
        resource, _, group = kind.partition(".")
        part = {"subresource": rest} if rest in ("status", "exec", "token") else {"name": rest}
        groups = ["system:authenticated"] + (["system:serviceaccounts"] if ":" in who else [])
        answer = self.cluster.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": who, "groups": groups,
            "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": namespace, **part}}})
        return answer["status"]["allowed"]


if __name__ == "__main__":
    unittest.main(verbosity=2)
