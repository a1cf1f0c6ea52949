#!/usr/bin/env python3
"""The schemas of weft.dev's kinds and weft-control's decoder know the same: a real API server keeps every field that the
decoder reads, takes every example, and what one of both would refuse doesn't pass both.

Usage: test_schemas.py PATH-TO-weft-control, with weft beside it; the API server is build.sh's.
"""
import copy, glob, json, os, re, shutil, subprocess, sys, tempfile, unittest, urllib.error
import yaml
from cluster import Cluster, TOKEN, free_port

CONTROL = os.path.abspath(sys.argv.pop(1))
WEFT = os.path.join(os.path.dirname(CONTROL), "weft")
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
PLURALS = {"TrafficPolicy": "trafficpolicies", "PeerAuthentication": "peerauthentications"}

FULL = yaml.safe_load("""
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: full, namespace: shop}
spec:
  targetRefs:
  # Not "": kube-apiserver 1.20 as Go 1.19 builds it takes that for null.
  - {group: core, kind: Service, name: web, port: 80}
  - {kind: Service, name: web, sectionName: http}
  - {group: gateway.networking.k8s.io, kind: HTTPRoute, name: web.v1}
  clients: [{namespace: street}, {serviceAccount: till}, {namespace: shop, serviceAccount: cart}]
  loadBalancer: {algorithm: ringHash, slowStart: 30s, hash: {cookie: {name: session, ttl: 24h}}}
  locality: {isPreferred: true, panicThreshold: 50%, overprovisioning: 140}
  sessionPersistence: {name: s, isHeader: false, lifetime: 24h, idleTimeout: 1h}
  timeouts: {request: 1.5s, perTry: 250ms, idle: 0s, connect: 1m30s}
  retry: {attempts: 3, statuses: [502, 503], grpcStatuses: [14], onConnectFailure: true, onReset: true,
    retriesNonIdempotent: false, backoff: 25ms, maximumBackoff: 250ms, bufferLimit: 65536}
  retryBudget: {percent: 20, interval: 10s, minimumRate: 10, minimumInterval: 1s}
  hedging: {percentile: 95, minimumDelay: 5ms}
  circuitBreaker: {maxConnections: 100, maxPending: 0, maxRequests: 1000, maxRetries: 3}
  outlierDetection: {consecutiveErrors: 5, interval: 10s, baseEjectionTime: 30s, maximumEjectionTime: 5m,
    maximumEjectionPercent: "10%", successRateDeviation: 1900, minimumRequests: 100, minimumEndpoints: 5, latencyPercent: 300}
  adaptiveConcurrency: {minimum: 4, maximum: 1000}
  rateLimits: [{requests: 100, interval: 1s, burst: 200, keys: [clientIdentity, route, {header: x-user}]}]
  faults:
  - {delay: 100ms, percent: "12.5%", header: {name: x-test, value: "1", type: Exact}}
  - {abort: 503, percent: 5}
  - {abortGRPC: 14}
  headers: {forwardedFor: true, via: false, requestID: true, reason: false}
""")
STRICT = {"apiVersion": "weft.dev/v1alpha1", "kind": "PeerAuthentication", "metadata": {"name": "default", "namespace": "weft-system"},
    "spec": {"mtls": {"mode": "STRICT"}}}

# Where in the schema each of the decoder's `Schemas` stands.
MAPS = {
    "trafficPolicySpec": "", "targetRef": "targetRefs.[]", "policyClient": "clients.[]", "loadBalancer": "loadBalancer",
    "hashSource": "loadBalancer.hash", "hashCookie": "loadBalancer.hash.cookie", "timeouts": "timeouts", "retry": "retry",
    "retryBudget": "retryBudget", "hedging": "hedging", "circuitBreaker": "circuitBreaker",
    "outlierDetection": "outlierDetection", "rateLimit": "rateLimits.[]", "adaptiveConcurrency": "adaptiveConcurrency",
    "fault": "faults.[]", "locality": "locality", "sessionPersistence": "sessionPersistence", "headerOptions": "headers",
}

# A change of the full policy that has to be refused: path, value.
BAD = [
    ("targetRefs", []), ("targetRefs", [{"kind": "Service", "name": f"s{i}"} for i in range(17)]),
    ("targetRefs.0.kind", "Gateway"), ("targetRefs.0.name", "Bad_Name"), ("targetRefs.0.name", None), ("targetRefs.0.port", 0),
    ("targetRefs.0.port", 65536), ("targetRefs.0.sectionName", "http"), ("targetRefs.2.port", 80), ("targetRefs.2.group", "apps"),
    ("clients.0", {}), ("clients.0.namespace", "A"), ("loadBalancer.algorithm", "fastest"), ("loadBalancer.algorithm", "random"),
    ("loadBalancer.hash", None), ("loadBalancer.hash.header", "x"), ("loadBalancer.slowStart", "1d"), ("loadBalancer.slowStart", "-1s"),
    ("locality.panicThreshold", 101), ("locality.panicThreshold", "101%"), ("locality.overprovisioning", 99),
    ("sessionPersistence.name", None), ("sessionPersistence.lifetime", "9000h"), ("timeouts.request", "soon"),
    ("timeouts.request", 5), ("timeouts.request", "1194h"), ("retry.attempts", 21), ("retry.statuses", [200]),
    ("retry.grpcStatuses", [0]), ("retry.maximumBackoff", "1ms"), ("retry.bufferLimit", 1048577), ("retryBudget.percent", "x"),
    ("retryBudget.interval", "0s"), ("hedging.percentile", 100), ("circuitBreaker.maxRequests", 0),
    ("outlierDetection.maximumEjectionTime", "1s"), ("outlierDetection.consecutiveErrors", 100001),
    ("adaptiveConcurrency.minimum", 2000), ("rateLimits.0.requests", None), ("rateLimits.0.requests", 0),
    ("rateLimits.0.keys", ["user"]), ("rateLimits.0.keys", [{"header": "a b"}]), ("faults.0.abort", 500), ("faults.1.abort", 600),
    ("faults.2", {}), ("faults.0.percent", "12.345%"), ("faults.0.header.type", "Glob"), ("headers.via", "yes"),
]


def at(value, path):
    for key in path:
        value = value[int(key) if isinstance(value, list) else key]
    return value


def changed(policy, path, value):
    policy = copy.deepcopy(policy)
    *way, last = path.split(".")
    parent = at(policy["spec"], way)
    if value is None:
        del parent[last]
    else:
        parent[int(last) if isinstance(parent, list) else last] = value
    return policy


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
        cls.cluster.wait_until(lambda: cls.status_of(FULL) != 404, "the definitions", 30)

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
