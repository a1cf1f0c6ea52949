"""A real Kubernetes API server with its etcd, on loopback, for as long as a `with` block lasts. See build.sh."""
import http.client, json, os, shutil, signal, socket, ssl, subprocess, tempfile, time, urllib.error, urllib.request

CACHE = os.environ.get("WEFT_KUBERNETES", "/var/cache/weft-kubernetes")
TOKEN = "weft-test-admin"
READER = "weft-test-reader"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="weft-kubernetes-")
        self.ports = {name: free_port() for name in ("etcd", "peer", "api")}
        self.processes = {}
        self.url = f"https://127.0.0.1:{self.ports['api']}"

    def __enter__(self):
        try:
            self.key("sa")
            with open(f"{self.folder}/tokens.csv", "w") as file:
                file.write(f'{TOKEN},admin,1,"system:masters"\n{READER},weft-control,2,"weft"\n')
            self.start_etcd()
            self.start_api()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in list(self.processes):
            self.stop(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def key(self, name):
        path = f"{self.folder}/{name}"
        subprocess.run(["openssl", "genrsa", "-out", f"{path}.key", "2048"], check=True, capture_output=True)
        subprocess.run(["openssl", "rsa", "-in", f"{path}.key", "-pubout", "-out", f"{path}.pub"], check=True, capture_output=True)

    def run(self, name, *arguments):
        log = open(f"{self.folder}/{name}.log", "ab")
        self.processes[name] = subprocess.Popen(arguments, stdout=log, stderr=log, cwd=self.folder)
        log.close()

    def stop(self, name, number=signal.SIGTERM):
        process = self.processes.pop(name)
        process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def start_etcd(self, data="etcd"):
        client, peer = (f"http://127.0.0.1:{self.ports[name]}" for name in ("etcd", "peer"))
        self.run("etcd", "/usr/bin/etcd", "--data-dir", f"{self.folder}/{data}", "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"default={peer}", "--unsafe-no-fsync")

    def start_api(self):
        self.run("api", f"{CACHE}/bin/kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self.ports['etcd']}",
            f"--secure-port={self.ports['api']}", "--bind-address=127.0.0.1", "--insecure-port=0",
            f"--cert-dir={self.folder}/certificates", "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={self.folder}/sa.key", f"--service-account-key-file={self.folder}/sa.pub",
            f"--token-auth-file={self.folder}/tokens.csv", "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount")
        self.wait_until(self.is_ready, "the API server", 60)

    def is_ready(self):
        try:
            return self.call("GET", "/readyz", raw=True) == b"ok"
        except OSError:
            return False

    def wait_until(self, condition, what, seconds=20):
        seconds = max(60, 2 * seconds)  # The machine stalls now and then.
        end = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            for name, process in self.processes.items():
                if process.poll() is not None:
                    with open(f"{self.folder}/{name}.log") as log:
                        raise AssertionError(f"{name} has ended: {log.read()[-2000:]}")
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds} s for {what}")
            time.sleep(0.05)

    def call(self, method, path, content=None, kind="application/json", raw=False):
        context = ssl.create_default_context(cafile=f"{self.folder}/certificates/apiserver.crt")
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("authorization", f"Bearer {TOKEN}")
        data = None
        if content is not None:
            data = json.dumps(content).encode()
            request.add_header("content-type", kind)
        with urllib.request.urlopen(request, data, timeout=10, context=context) as answer:
            body = answer.read()
        return body if raw else json.loads(body)

    def connection(self):
        """A connection to the API server, for whoever asks more than `call` does."""
        context = ssl.create_default_context(cafile=f"{self.folder}/certificates/apiserver.crt")
        return http.client.HTTPSConnection("127.0.0.1", self.ports["api"], context=context)

    def is_served(self, path):
        """Whether the kind is known at that path by now."""
        try:
            return self.exists(f"{path}?limit=1") is not None
        except OSError:
            return False

    def exists(self, path):
        """The object of a path, or None."""
        try:
            return self.call("GET", path)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def allow_control(self, namespace="weft-system"):
        """What weft-control may do in an installation, and not a right more."""
        read = ["get", "list", "watch"]
        gateway = ["httproutes", "grpcroutes", "tcproutes", "tlsroutes"]
        weft = ["peerauthentications", "trafficpolicies"]
        rules = [
            {"apiGroups": [""], "resources": ["pods", "services", "namespaces", "nodes", "serviceaccounts"], "verbs": read},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
            {"apiGroups": ["gateway.networking.k8s.io"], "resources": [*gateway, "referencegrants"], "verbs": read},
            {"apiGroups": ["weft.dev"], "resources": weft, "verbs": read},
            {"apiGroups": ["gateway.networking.k8s.io"], "resources": [f"{kind}/status" for kind in gateway], "verbs": ["patch", "update"]},
            {"apiGroups": ["weft.dev"], "resources": [f"{kind}/status" for kind in weft], "verbs": ["patch", "update"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
            {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["mutatingwebhookconfigurations"],
                "resourceNames": ["weft-injector"], "verbs": ["get", "patch"]},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["weft-roots"], "verbs": ["get", "patch"]},
        ]
        own = [
            {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["create"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["weft-ca"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["weft-roots", "weft-deliveries", "weft-last-good"], "verbs": ["get", "patch"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update", "patch"]},
        ]
        base = "/apis/rbac.authorization.k8s.io/v1"
        subjects = [{"kind": "User", "name": "weft-control", "apiGroup": "rbac.authorization.k8s.io"}]
        self.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        for kind, place, content in [("Role", f"{base}/namespaces/{namespace}", own), ("ClusterRole", base, rules)]:
            name = {"name": "weft-control"}
            self.call("POST", f"{place}/{kind.lower()}s", {"metadata": name, "rules": content})
            self.call("POST", f"{place}/{kind.lower()}bindings", {
                "metadata": name, "subjects": subjects,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "weft-control"}})

    def kubeconfig(self, token=READER, server=None):
        path = f"{self.folder}/kubeconfig-{token}{'-other' if server else ''}"
        content = {
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "c", "cluster": {
                "server": server or self.url, "certificate-authority": "certificates/apiserver.crt"}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
        }
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump(content, file)
        return path
