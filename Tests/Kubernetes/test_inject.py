#!/usr/bin/env python3
"""Stubs injected by the webhook of a real weft-control into pods of a real API server, by the hooks that deploy/ ships.

Usage: test_inject.py PATH-TO-weft-control; the API server is build.sh's.
"""
import base64, collections, contextlib, itertools, json, os, re, ssl, subprocess, sys, time, unittest, urllib.error, urllib.request
import yaml
from cluster import Cluster
from control import Control

CONTROL = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "weft-control"
WEFT = os.path.join(os.path.dirname(CONTROL), "weft")
HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
STUB = {"weft.dev/mode": "stub"}
# What a pod's labels can say, and a namespace's.
MODES = [{}, STUB, {"weft.dev/mode": "node"}]
PODS = MODES + [{**mode, "weft.dev/mesh": "disabled"} for mode in MODES]
SPACES = [{**mesh, **mode} for mesh in ({}, {"weft.dev/mesh": "enabled"}, {"weft.dev/mesh": "disabled"}) for mode in MODES]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../deploy/base/webhook/configuration.yaml")) as file:
    SHIPPED = yaml.safe_load(file)
# Pods that want a stub: the hook that is asked about them, their namespace, labels and ServiceAccount.
WANTED = [
    ("mesh", "stubs", {}, "default"), ("mesh", "mesh", STUB, "default"), ("mesh", "mesh", {}, "stubbed"),
    ("mode", "mode", {}, "default"), ("pod", "plain", STUB, "default"), ("account", "plain", {}, "stubbed"),
]


def pod(name, labels=None, annotations=None, **spec):
    # As the ServiceAccount admission sets it, which this cluster runs without.
    spec.setdefault("serviceAccountName", "default")
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}, "annotations": annotations or {}},
        "spec": {"containers": [{"name": "app", "image": "i"}], **spec},
    }


def names(pod, kind="containers"):
    return [container["name"] for container in pod["spec"].get(kind, [])]


def selects(selector, labels):
    """Whether a selector of In and NotIn takes these labels; one that isn't there is in no set."""
    assert set(selector) <= {"matchExpressions"}, selector
    return all((labels.get(part["key"]) in part["values"]) == {"In": True, "NotIn": False}[part["operator"]]
        for part in selector.get("matchExpressions", []))


def matching(namespace, pod):
    """The first names of the shipped hooks that match a pod of those labels in a namespace of those."""
    return [hook["name"].split(".")[0] for hook in SHIPPED["webhooks"]
        if selects(hook.get("namespaceSelector", {}), namespace) and selects(hook.get("objectSelector", {}), pod)]


class Selectors(unittest.TestCase):
    def test_no_two_hooks_match_the_same_pod(self):
        self.assertEqual([hook["name"] for hook in SHIPPED["webhooks"]], [f"{name}.injector.weft.dev" for name in ("mesh", "mode", "pod", "account")])
        for namespace, pod in itertools.product(SPACES, PODS):
            with self.subTest(namespace=namespace, pod=pod):
                hook = "mesh" if namespace.get("weft.dev/mesh") == "enabled" else "mode" if STUB.items() <= namespace.items() else \
                    "pod" if STUB.items() <= pod.items() else "account"
                opts_out = hook in ("mesh", "mode") and pod.get("weft.dev/mode") == "node" or hook != "account" and pod.get("weft.dev/mesh") == "disabled"
                self.assertEqual(matching(namespace, pod), [] if opts_out else [hook])
                for system in ("kube-system", "kube-public", "kube-node-lease", "weft-system"):
                    self.assertEqual(matching({**namespace, "kubernetes.io/metadata.name": system}, pod), [])


class Injection(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.__exit__)
        cls.cluster.allow_control()
        cls.space("stubs", {"weft.dev/mesh": "enabled", **STUB})
        cls.space("mesh", {"weft.dev/mesh": "enabled"})
        cls.space("mode", STUB)
        cls.space("plain", {})
        for namespace in ("mesh", "plain"):
            cls.cluster.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "stubbed", "labels": STUB}})
        # 60 s: renewed within 40.
        cls.control = Control(CONTROL, cls.cluster, arguments=["--advertise", "127.0.0.1", "--certificate-lifetime", "60s"]).ready()
        cls.addClassCleanup(lambda: cls.control.end())

    @classmethod
    def space(cls, name, labels):
        cls.cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})

    def setUp(self):
        self.configure()

    def tearDown(self):
        # A hook that was done without looks like one that left the pod alone.
        self.assertEqual(self.ignored(), [])

    def configure(self, **policies):
        """As the installation does, but for where weft-control is; without a caBundle: that is weft-control's to write."""
        if self.cluster.exists(f"{HOOKS}/weft-injector"):
            self.cluster.call("DELETE", f"{HOOKS}/weft-injector")
        client = {"url": f"https://127.0.0.1:{self.control.ports['webhook']}/inject"}
        self.cluster.call("POST", HOOKS, {**SHIPPED, "webhooks": [
            {**hook, "clientConfig": client, "failurePolicy": policies.get(hook["name"].split(".")[0], hook["failurePolicy"])}
            for hook in SHIPPED["webhooks"]]})
        if self.control.process.poll() is None:
            self.control.wait("its CA", lambda: all("caBundle" in hook["clientConfig"] for hook in self.hooks()))
        # The API server takes a moment to use what was written.
        time.sleep(1)
        self.logged = os.path.getsize(f"{self.cluster.folder}/api.log")

    def ignored(self):
        """The hooks that the API server did without since they were configured, as its log says."""
        with open(f"{self.cluster.folder}/api.log") as file:
            file.seek(self.logged)
            return re.findall(r"failing open (\w+)\.injector\.weft\.dev", file.read())

    @contextlib.contextmanager
    def asks(self, *hooks):
        """The API server asks these hooks meanwhile and no others, by its own count."""
        def count():
            text = self.cluster.call("GET", "/metrics", raw=True).decode()
            found = re.findall(r'^apiserver_admission_webhook_admission_duration_seconds_count{name="(\w+)\.injector\.weft\.dev".*} (\d+)$', text, re.M)
            return sum((collections.Counter({name: int(number)}) for name, number in found), collections.Counter())
        before = count()
        yield
        self.assertEqual(count() - before, collections.Counter(hooks))

    def hooks(self):
        return self.cluster.call("GET", f"{HOOKS}/weft-injector")["webhooks"]

    def make(self, namespace, content):
        """The pod as it was made; it is gone after the test."""
        path = f"/api/v1/namespaces/{namespace}/pods"
        made = self.cluster.call("POST", path, content)
        self.addCleanup(lambda: self.cluster.call("DELETE", f"{path}/{content['metadata']['name']}?gracePeriodSeconds=0"))
        return made

    def refusal(self, namespace, content):
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.make(namespace, content)
        return json.loads(caught.exception.read())["message"]

    def post(self, body, path="/inject"):
        """(status, text) of a request to the webhook itself, verified by the published root."""
        roots = base64.b64decode(self.hooks()[0]["clientConfig"]["caBundle"]).decode()
        context = ssl.create_default_context(cadata=roots)
        request = urllib.request.Request(f"https://127.0.0.1:{self.control.ports['webhook']}{path}", body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def test_who_opts_in_gets_a_stub(self):
        made = self.make("stubs", pod("by-namespace"))
        self.assertEqual(names(made), ["weft-stub", "app"])  # 1.20 knows no native sidecars
        self.assertEqual(names(made, "initContainers"), ["weft-init"])
        self.assertEqual(made["metadata"]["annotations"]["weft.dev/injected"], "tunnel")
        token = next(volume for volume in made["spec"]["volumes"] if volume["name"] == "weft-token")
        source = token["projected"]["sources"][0]["serviceAccountToken"]
        self.assertEqual((source["audience"], source["expirationSeconds"]), ("weft", 3600))
        made = self.make("plain", pod("by-pod", STUB, {"weft.dev/stub": "handoff"}))
        self.assertEqual(names(made), ["weft-stub", "app"])
        self.assertEqual(made["metadata"]["annotations"]["weft.dev/injected"], "handoff")
        self.assertNotIn("initContainers", made["spec"])

    def test_each_is_asked_about_by_the_hook_that_is_for_it(self):
        for number, (hook, namespace, labels, account) in enumerate(WANTED):
            with self.subTest(namespace=namespace, labels=labels, account=account):
                with self.asks(hook):
                    made = self.make(namespace, pod(f"wanted-{number}", labels, serviceAccountName=account))
                self.assertEqual(names(made), ["weft-stub", "app"])

    def test_the_server_selects_as_the_file_says(self):
        for number, namespace in enumerate(SPACES):
            self.space(f"space-{number}", namespace)
            for labels in PODS:
                with self.subTest(namespace=namespace, pod=labels), self.asks(*matching(namespace, labels)):
                    made = self.cluster.call("POST", f"/api/v1/namespaces/space-{number}/pods?dryRun=All", pod("dry", labels))
                    wants = {**namespace, **labels}.get("weft.dev/mode") == "stub" and {**namespace, **labels}.get("weft.dev/mesh") != "disabled"
                    self.assertEqual(names(made), ["weft-stub", "app"] if wants else ["app"])

    def test_the_roots_follow_stubs_into_their_namespaces(self):
        path = "/api/v1/namespaces/{}/configmaps/weft-roots"
        self.assertIsNone(self.cluster.exists(path.format("plain")))
        self.make("plain", pod("rooted", STUB))
        found = self.control.wait("the roots", lambda: self.cluster.exists(path.format("plain")))
        bundle = self.hooks()[0]["clientConfig"]["caBundle"]
        self.assertEqual(found["data"]["ca.pem"], base64.b64decode(bundle).decode())
        self.assertIsNone(self.cluster.exists(path.format("mesh")))

    def test_who_does_not_is_left_alone(self):
        for namespace, content in [
            ("mesh", pod("unasked")), ("plain", pod("outside")), ("stubs", pod("back", {"weft.dev/mode": "node"})),
            ("stubs", pod("out", {"weft.dev/mesh": "disabled"})), ("stubs", pod("host", hostNetwork=True)),
        ]:
            made = self.make(namespace, content)
            self.assertEqual(names(made), ["app"])
            self.assertNotIn("weft.dev/injected", made["metadata"].get("annotations", {}))

    def test_hostile_pods_are_refused_with_the_reason(self):
        own = [{"name": "app", "image": "i"}, {"name": "weft-stub", "image": "i"}]
        for content, reason in [
            (pod("named", containers=own), "called weft-stub"), (pod("marked", annotations={"weft.dev/injected": "tunnel"}), "weft.dev/injected"),
            (pod("user", securityContext={"runAsUser": 61337}), "61337"), (pod("job", restartPolicy="Never"), "never end"),
            (pod("kind", annotations={"weft.dev/stub": "x"}), "handoff or tunnel"), (pod("mode", {"weft.dev/mode": "x"}), "stub or node"),
        ]:
            self.assertIn(reason, self.refusal("stubs", content))

    def test_what_is_no_review_is_answered_in_words(self):
        self.assertEqual(self.post(b"{")[0], 400)
        self.assertEqual(self.post(b"[" * 100_000)[0], 400)
        self.assertEqual(self.post(b"{}", "/other")[0], 404)
        self.assertEqual(self.post(b" " * (3 << 20) + b"{}")[0], 413)
        status, text = self.post(json.dumps({
            "apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": {
                "uid": "u", "kind": {"kind": "Pod"}, "operation": "CREATE", "namespace": "stubs", "object": pod("x", hostNetwork=True)},
        }).encode())
        answer = json.loads(text)
        self.assertEqual((status, answer["apiVersion"]), (200, "admission.k8s.io/v1beta1"))
        self.assertTrue(answer["response"]["allowed"])
        self.assertIn("hostNetwork", answer["response"]["warnings"][0])

    def test_while_it_is_away_the_policies_decide_and_the_system_is_never_held(self):
        self.control.end()
        try:
            for number, (hook, namespace, labels, account) in enumerate(WANTED):
                content = pod(f"away-{number}", labels, serviceAccountName=account)
                with self.subTest(namespace=namespace, labels=labels, account=account), self.asks(hook):
                    if hook in ("mode", "pod"):
                        self.assertIn(f'failed calling webhook "{hook}.injector.weft.dev"', self.refusal(namespace, content))
                    else:
                        self.assertEqual(names(self.make(namespace, content)), ["app"])
            self.make("plain", pod("free"))
            # This server doesn't name namespaces by a label of their own, as those from 1.21 do: the hook for accounts is asked here too.
            self.make("kube-system", pod("dns"))
            self.assertEqual(self.ignored(), ["mesh"] * 3 + ["account"] * 3)
            self.configure(mesh="Fail")  # as deploy/overlays/stub-only does
            self.assertIn('failed calling webhook "mesh.injector.weft.dev"', self.refusal("mesh", pod("stopped")))
            for number, labels in enumerate(({"weft.dev/mode": "node"}, {"weft.dev/mesh": "disabled"})):
                self.make("mesh", pod(f"out-{number}", labels))
        finally:
            type(self).control = Control(CONTROL, self.cluster, arguments=["--advertise", "127.0.0.1", "--certificate-lifetime", "60s"]).ready()
        self.configure()
        self.assertEqual(names(self.make("stubs", pod("again"))), ["weft-stub", "app"])

    def test_its_certificate_is_renewed_by_itself(self):
        def serial():
            shown = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.control.ports['webhook']}"],
                stdin=subprocess.DEVNULL, capture_output=True).stdout
            return subprocess.run(["openssl", "x509", "-noout", "-serial"], input=shown, capture_output=True, check=True).stdout
        first = serial()
        self.control.wait("a renewal", lambda: serial() != first, 60)
        self.assertEqual(names(self.make("stubs", pod("renewed"))), ["weft-stub", "app"])

    def test_the_configurations_ca_is_put_back(self):
        before, hooks = self.hooks(), self.hooks()
        for hook in hooks:
            hook["clientConfig"]["caBundle"] = base64.b64encode(b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n").decode()
        wrong = hooks[0]["clientConfig"]["caBundle"]
        right = before[0]["clientConfig"]["caBundle"]
        patched = self.cluster.call("PATCH", f"{HOOKS}/weft-injector", {"webhooks": hooks}, "application/merge-patch+json")
        self.assertEqual(patched["webhooks"][0]["clientConfig"]["caBundle"], wrong)
        self.control.wait("the right CA", lambda: [hook["clientConfig"]["caBundle"] for hook in self.hooks()] == [right] * 4)
        self.assertEqual(self.hooks(), before)
        # Which is the file, but for where weft-control is and what it leaves to the server.
        for hook, shipped in zip(before, SHIPPED["webhooks"]):
            self.assertEqual({**hook, **shipped, "clientConfig": hook["clientConfig"]}, hook)

    def test_what_weft_inject_made_the_server_takes_and_the_webhook_leaves(self):
        def inject(content, *arguments):
            return json.loads(subprocess.run([WEFT, "inject", "-", *arguments], input=json.dumps(content).encode(), check=True,
                capture_output=True).stdout)
        offline = inject(pod("offline"), "--native-sidecar", "false", "--image", "my/stub:1")
        made = self.make("stubs", offline)
        self.assertEqual([container["image"] for container in made["spec"]["containers"]], ["my/stub:1", "i"])
        self.assertEqual(inject(offline, "--remove"), {**pod("offline"), "metadata": {"name": "offline", "labels": {}}})


if __name__ == "__main__":
    unittest.main(verbosity=2)
