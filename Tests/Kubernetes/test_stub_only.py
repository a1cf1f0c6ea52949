#!/usr/bin/env python3
"""A mesh without agents, `weft install --overlay stub-only`, on a real API server with the lab's nodes: pods carry their own
proxies, call each other by mTLS, are replaced under load, and end as they would without.

Usage: test_stub_only.py PATH-TO-weft-control, with the other programs beside it.
"""
import json, os, sys, threading, time, unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
os.environ["BIN"] = os.path.dirname(os.path.abspath(sys.argv.pop(1))) if len(sys.argv) > 1 else os.path.join(ROOT, ".build/debug")
sys.path[:0] = [os.path.join(ROOT, "benchmarks/scale"), os.path.join(ROOT, "demo")]
import kubernetes, rollouts
from lab import wait_for
from policies import STRICT

REQUESTS = int(os.environ.get("WEFT_ROLLOUT_REQUESTS", "5000"))


# Told to end, it answers what is open, after a request of its own.
LEAVING = """
import http.server, signal, threading, time, urllib.request
told, busy = threading.Event(), threading.Semaphore(0)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"here"
        if self.path == "/wait":
            told.wait(20)
            time.sleep(1)
            body = b"asked after SIGTERM: " + urllib.request.urlopen("http://web/", timeout=5).read()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/wait": busy.release()
server = http.server.ThreadingHTTPServer(("", 8080), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
signal.signal(signal.SIGTERM, lambda *_: told.set())
told.wait()
busy.acquire(timeout=10)
"""
# Of a server that is there; curl takes a reset that comes at once for nobody's being there.
UNHEARD = """
import socket, sys
try:
    peer = socket.create_connection((sys.argv[1], 80), 5)
    peer.sendall(b"GET / HTTP/1.1\\r\\nhost: web\\r\\n\\r\\n")
    print("answered" if peer.recv(1) else "ended")
except (ConnectionResetError, BrokenPipeError):
    print("reset")
"""


class StubOnly(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = kubernetes.Cluster.of(cls, "stubonly")
        cls.cluster.weft_cli("install", "--overlay", "stub-only", timeout=180)
        cls.cluster.apply_objects(STRICT)
        cls.cluster.kubectl("create", "namespace", "shop")
        cls.cluster.kubectl("label", "namespace", "shop", "weft.dev/mode=stub")
        cls.cluster.kubectl("apply", "-f", f"{ROOT}/demo/kubernetes/shop.yaml")
        kubernetes.shop_runs(cls.cluster)

    def pod(self, name, command, namespace="shop", labels=None, **more):
        """Runs it until the test ends."""
        self.cluster.apply_objects({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, **(labels or {})}},
            "spec": {"terminationGracePeriodSeconds": 20, "containers": [{"name": "app", "image": "example.org/client", "command": command, **more}]}})
        self.addCleanup(self.cluster.kubectl, "delete", "pod", "-n", namespace, name, "--ignore-not-found", "--grace-period=0", "--force", timeout=40)
        self.cluster.kubectl("wait", "-n", namespace, f"pod/{name}", "--for=condition=Ready", "--timeout=30s", timeout=40)

    def pods(self, app):
        return json.loads(self.cluster.kubectl("get", "pods", "-n", "shop", "-l", f"app={app}", "-o", "json"))["items"]

    def test_1_pods_call_each_other_by_their_stubs(self):
        for pod in self.pods("web") + self.pods("client"):
            self.assertEqual(pod["metadata"]["annotations"]["weft.dev/injected"], "tunnel")
        names, good = self.cluster.names(self.cluster.pod("client"), 40)
        self.assertEqual((good, sorted(names)), (40, ["web-v1", "web-v2"]))
        said = self.cluster.weft_cli("status", "-A").stdout
        for pod in self.pods("web") + self.pods("client"):
            self.assertRegex(said, f"shop/{pod['metadata']['name']} .*tunnel +ready .*connected")
        self.assertNotIn("agent", self.cluster.weft_cli("version").stdout)

    def test_2_no_request_is_lost_while_a_deployment_is_replaced(self):
        # A stub carries bytes: it can't ask for the end of a connection that waits for its client's next request.
        result = rollouts.of_a_deployment(self.cluster, REQUESTS, "-H", "connection: close")
        self.assertEqual(result["failed"], 0, result)

    def test_3_an_application_waits_for_its_stub(self):
        self.pod("early", ["sh", "-c", "curl -sS --max-time 5 http://web/ >/first 2>&1; sleep infinity"])
        wait_for("its first request to be answered", lambda: self.cluster.exec("early", "cat", "/first").stdout, 10)
        self.assertRegex(self.cluster.exec("early", "cat", "/first").stdout, "web-v[12]")

    def test_4_a_pod_that_ends_finishes_first(self):
        self.pod("leaving", ["python3", "-c", LEAVING], ports=[{"containerPort": 8080}], readinessProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1})
        address = self.cluster.kubectl("get", "-n", "shop", "pod/leaving", "-o", "jsonpath={.status.podIP}")
        client, said = self.cluster.pod("client"), []
        asked = threading.Thread(target=lambda: said.append(
            self.cluster.exec(client, "curl", "-sS", "--max-time", "25", f"http://{address}:8080/wait", check=False, timeout=40).stdout))
        asked.start()
        time.sleep(1)
        began = time.monotonic()
        self.cluster.kubectl("delete", "pod", "-n", "shop", "leaving", timeout=40)
        took = time.monotonic() - began
        asked.join()
        self.assertRegex(said[0], "asked after SIGTERM: .*web-v[12]")
        self.assertLess(took, 15, "with its application the stub has nothing left to wait for")

    def test_5_whoever_has_no_stub_is_refused(self):
        self.cluster.kubectl("create", "namespace", "street")
        self.pod("stranger", ["sleep", "infinity"], namespace="street")
        self.assertIn(self.cluster.exec("stranger", "python3", "-c", UNHEARD, "web.shop", namespace="street").stdout.strip(), ("reset", "ended"))
        # Its own choice: STRICT holds for one that opts out too.
        self.pod("plain", ["sleep", "infinity"], labels={"weft.dev/mode": "node"})
        self.assertIn(self.cluster.exec("plain", "python3", "-c", UNHEARD, "web").stdout.strip(), ("reset", "ended"))

    def test_6_a_job_ends(self):
        """Its stub ends after it, which needs the processes of the pod in one namespace where there are no native sidecars."""
        def job(name, command, **more):
            template = {"metadata": {"labels": {"app": name}}, "spec": {"restartPolicy": "Never", "containers": [
                {"name": "app", "image": "example.org/client", "command": ["sh", "-c", command]}], **more}}
            self.cluster.apply_objects({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "shop"}, "spec": {"backoffLimit": 0, "template": template}})
            self.addCleanup(self.cluster.kubectl, "delete", "job", "-n", "shop", name, timeout=40)
        job("once", "curl -fsS --max-time 5 http://web/ && sleep 2", shareProcessNamespace=True)
        self.cluster.kubectl("wait", "-n", "shop", "job/once", "--for=condition=Complete", "--timeout=40s", timeout=50)
        self.assertRegex(self.cluster.kubectl("logs", "-n", "shop", "job/once", "-c", "app"), "web-v[12]")
        # Over before the stub has looked.
        job("failing", "exit 3", shareProcessNamespace=True)
        self.cluster.kubectl("wait", "-n", "shop", "job/failing", "--for=condition=Failed", "--timeout=40s", timeout=50)
        # Without, it would never end: it is refused, and says what it needs.
        job("stuck", "true")
        wait_for("the Job's event", lambda: "shareProcessNamespace" in self.cluster.kubectl("get", "events", "-n", "shop", "-o", "jsonpath={.items[*].message}"), 20)

    def test_7_nothing_is_to_repair_and_nothing_is_left(self):
        said = self.cluster.weft_cli("check", "-A", check=False).stdout
        self.assertRegex(said, "agents .*none, as installed: stub-only")
        self.assertNotIn("✗", said)
        said = self.cluster.weft_cli("uninstall", "--crds", timeout=180).stdout
        self.assertIn("shop/", said, "it names the pods that still have a stub")
        left = self.cluster.kubectl("get", "namespaces,clusterroles,clusterrolebindings,priorityclasses,crd,mutatingwebhookconfigurations", "-o", "name")
        self.assertNotIn("weft", left)


if __name__ == "__main__":
    unittest.main(verbosity=2)
