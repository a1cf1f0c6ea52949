#!/usr/bin/env python3
"""The schemas of weft.dev's kinds and weft-control's decoder know the same: a real API server keeps every field that the
decoder reads, takes every example, and what one of both would refuse doesn't pass both.

Usage: test_schemas.py PATH-TO-weft-control, with weft beside it; the API server is build.sh's.
"""
import copy, glob, json, os, re, shutil, subprocess, sys, tempfile, unittest, urllib.error
import yaml
from cluster import Cluster, TOKEN, free_port
from policies import BAD, FULL, GOOD, STRICT, changed

CONTROL = os.path.abspath(sys.argv.pop(1))
WEFT = os.path.join(os.path.dirname(CONTROL), "weft")
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
PLURALS = {"TrafficPolicy": "trafficpolicies", "PeerAuthentication": "peerauthentications"}

# Where in the schema each of the decoder's `Schemas` stands.
MAPS = {
    "trafficPolicySpec": "", "targetRef": "targetRefs.[]", "policyClient": "clients.[]", "loadBalancer": "loadBalancer",
    "hashSource": "loadBalancer.hash", "hashCookie": "loadBalancer.hash.cookie", "timeouts": "timeouts", "retry": "retry",
    "retryBudget": "retryBudget", "hedging": "hedging", "circuitBreaker": "circuitBreaker",
    "outlierDetection": "outlierDetection", "rateLimit": "rateLimits.[]", "adaptiveConcurrency": "adaptiveConcurrency",
    "fault": "faults.[]", "locality": "locality", "sessionPersistence": "sessionPersistence", "headerOptions": "headers",
}


class Schemas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.__exit__)
        cls.environment = {**os.environ, "KUBECONFIG": cls.cluster.kubeconfig(TOKEN)}
        text = subprocess.run([WEFT, "install", "--dry-run"], env=cls.environment, capture_output=True, text=True, check=True).stdout
        objects = [document for document in yaml.safe_load_all(text) if document]
        crds = [document for document in objects if document["kind"] == "CustomResourceDefinition"]
        for crd in crds:
            cls.cluster.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        cls.schema = {crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in crds}
        for namespace in ("shop", "weft-system"):
            cls.cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        cls.cluster.wait_until(lambda: all(cls.status_of(policy) != 404 for policy in (FULL, STRICT)), "the definitions", 30)

    @classmethod
    def status_of(cls, policy):
        status, _ = cls.post(policy)
        return status

    @classmethod
    def post(cls, policy):
        """What the server makes of it, without storing it."""
        namespace = policy["metadata"].get("namespace", "default")
        path = f"/apis/weft.dev/v1alpha1/namespaces/{namespace}/{PLURALS[policy['kind']]}?dryRun=All"
        try:
            return 201, cls.cluster.call("POST", path, policy)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def decoded(self, policies):
        """weft-control's verdict on each, of a folder: accepted or not, and why."""
        folder = tempfile.mkdtemp(prefix="weft-schemas-")
        self.addCleanup(shutil.rmtree, folder)
        os.mkdir(f"{folder}/mesh")
        for index, policy in enumerate(policies):
            policy = copy.deepcopy(policy)
            # In files of their own: one that is refused takes nothing else with it.
            if policy["kind"] == "TrafficPolicy":
                policy["metadata"]["name"] = f"p{index}"
            with open(f"{folder}/mesh/{index}.yaml", "w") as file:
                yaml.safe_dump(policy, file)
        with open(f"{folder}/tokens", "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write("one secret-of-node-one\n")
        with open(f"{folder}/log", "wb") as log:
            process = subprocess.Popen([CONTROL, "--config", f"{folder}/mesh", "--state-dir", f"{folder}/state", "--join-tokens",
                f"{folder}/tokens", "--listen", "127.0.0.1", "--discovery-port", str(free_port()), "--join-port", str(free_port())],
                stdout=log, stderr=log)

        def verdicts():
            try:
                with open(f"{folder}/state/status.json") as file:
                    objects = json.load(file)["objects"]
            except (FileNotFoundError, json.JSONDecodeError):
                return None
            # "file:line:column: …" or the file's name, as the object is known or not.
            found = {}
            for entry in objects:
                match = re.search(r"(\d+)\.yaml", json.dumps(entry))
                if match:
                    found[int(match.group(1))] = entry
            return found if len(found) == len(policies) else None
        try:
            return self.cluster.wait_until(verdicts, f"the verdicts ({folder})", 40)
        finally:
            process.terminate()
            process.wait(20)

    def test_schema_and_decoder_have_the_same_fields(self):
        with open(f"{ROOT}/Sources/ControlPlane/Objects/GatewaySchemas.swift") as file:
            source = file.read()
        spec = self.schema["TrafficPolicy"]["properties"]["spec"]
        for name, path in MAPS.items():
            match = re.search(rf"static let {name} = Schema\(\[(.*?)\]\)", source, re.S)
            self.assertIsNotNone(match, name)
            read = set(re.findall(r'"(\w+)"', match.group(1)))
            part = spec
            for key in filter(None, path.split(".")):
                part = part["items"] if key == "[]" else part["properties"][key]
            self.assertEqual(set(part["properties"]), read, name)

    def test_every_field_is_kept(self):
        for policy in (FULL, STRICT):
            status, stored = self.post(policy)
            self.assertEqual(status, 201, stored)
            self.assertEqual(stored["spec"], policy["spec"])

    def test_every_example_is_taken(self):
        found = []
        for path in glob.glob(f"{ROOT}/examples/**/*.yaml", recursive=True) + glob.glob(f"{ROOT}/demo/**/*.yaml", recursive=True):
            with open(path) as file:
                found += [(path, document) for document in yaml.safe_load_all(file)
                    if document and document.get("apiVersion") == "weft.dev/v1alpha1"]
        self.assertGreater(len(found), 4)
        for path, document in found:
            status, stored = self.post(document)
            self.assertEqual(status, 201, f"{path}: {stored}")
            self.assertEqual(stored["spec"], document["spec"], path)

    def test_what_is_wrong_passes_not_both(self):
        policies = [changed(FULL, path, value) for path, value in BAD]
        policies += [{**STRICT, "spec": {"mtls": {"mode": "DISABLE"}}}]
        verdicts = self.decoded([FULL] + policies)
        self.assertTrue(verdicts[0]["accepted"], verdicts[0])
        self.assertEqual(self.status_of(FULL), 201)
        for index, policy in enumerate(policies):
            what = BAD[index] if index < len(BAD) else "DISABLE"
            status, answer = self.post(policy)
            if status == 201:
                # Rules of CEL are for newer servers: weft-control refuses in the status.
                self.assertFalse(verdicts[index + 1]["accepted"], what)
            else:
                self.assertEqual(status, 422, answer)
                self.assertIn("spec", json.loads(answer)["message"])

    def test_what_lies_at_the_bounds_passes_both(self):
        policies = [changed(FULL, path, value) for path, value in GOOD]
        verdicts = self.decoded(policies)
        for index, policy in enumerate(policies):
            self.assertTrue(verdicts[index]["accepted"], f"{GOOD[index]}: {verdicts[index]}")
            status, answer = self.post(policy)
            self.assertEqual(status, 201, f"{GOOD[index]}: {answer}")

    def test_a_misspelt_field_is_refused_by_kubectl(self):
        policy = changed(FULL, "timeouts.requets", "1s")

        def refusal():
            result = subprocess.run(["kubectl", "apply", "-f", "-", "--dry-run=server"], input=json.dumps(policy),
                env=self.environment, capture_output=True, text=True)
            return result.stderr if result.returncode else None
        # Once the server has published the definition's schema.
        self.assertIn("requets", self.cluster.wait_until(refusal, "kubectl's refusal", 30))

    def test_a_setting_for_some_pods_never_becomes_one_for_all(self):
        status, stored = self.post({**STRICT, "spec": {"mtls": {"mode": "STRICT"}, "selector": {"matchLabels": {"app": "web"}}}})
        self.assertTrue(status == 422 or "selector" in stored["spec"], stored)


if __name__ == "__main__":
    unittest.main(verbosity=2)
