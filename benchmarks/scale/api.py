"""A real API server with the objects of a large cluster, and in front of it a recorded stream of those that it doesn't take in
time: Pods and their EndpointSlices, listed in pages, and watches that say what the run tells them."""
import base64, json, os, queue, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import world
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../Tests/Kubernetes"))
from cluster import TOKEN, Cluster
from relay import relay

GATEWAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../Tests/Kubernetes/gateway")
WRITERS = 8


class ScaleAPI:
    """Serves on a port of loopback until `stop`. All of it is there before, so that the control plane is measured alone."""

    def __init__(self):
        self.pages = {(path, start): world.page(path, start)
            for path, (_, count) in world.RECORDED.items() for start in range(0, count, world.PAGE)}
        self.bytes = sum(len(page) for page in self.pages.values())
        self.watches, self.streams = {}, set()
        # The newest that was told.
        self.version = world.VERSION
        self.lock = threading.Lock()
        self.cluster = Cluster().__enter__()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                url = urlparse(self.path)
                query = parse_qs(url.query)
                if url.path not in world.RECORDED:
                    return self.pass_on()
                if "watch" in query:
                    return self.watch(url.path)
                if query.get("limit") == ["1"]:
                    # How far the server is.
                    return self.answer(json.dumps({"metadata": {"resourceVersion": str(api.version)}, "items": []}).encode())
                self.answer(api.pages[url.path, int(query.get("continue", ["0"])[0])])

            def pass_on(self):
                length = int(self.headers.get("content-length") or 0)
                relay(self, api.cluster, self.rfile.read(length) if length else None, api.streams)

            do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

            def answer(self, body):
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def watch(self, path):
                events = queue.Queue()
                with api.lock:
                    api.watches[path] = events
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                while (event := self.event(events)) is not None:
                    line = event + b"\n"
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.write(b"0\r\n\r\n")

            def event(self, events):
                try:
                    return events.get(timeout=60)
                except queue.Empty:
                    return json.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(api.version)}}}).encode()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def create(self):
        """Makes what the real server holds: (objects, seconds)."""
        self.cluster.allow_control()
        admin = self.cluster.kubeconfig(TOKEN)
        subprocess.run(["kubectl", "--kubeconfig", admin, "apply", "-f", GATEWAY], check=True, stdout=subprocess.DEVNULL, timeout=60)
        began, count = time.monotonic(), 0
        for path, (make, amount) in world.REAL.items():
            self.cluster.wait_until(lambda: self.cluster.is_served(path), f"{path} to be served")
            pending, failures = iter(range(amount)), []
            threads = [threading.Thread(target=self.write, args=(path, make, pending, failures)) for _ in range(WRITERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if failures:
                raise RuntimeError(f"{path}: {failures[0]}")
            count += amount
        return count, time.monotonic() - began

    def write(self, path, make, pending, failures):
        connection = self.cluster.connection()
        while not failures:
            with self.lock:
                index = next(pending, None)
            if index is None:
                break
            content = make(index)
            for name in ("resourceVersion", "uid", "creationTimestamp", "generation"):
                content["metadata"].pop(name, None)
            namespace = content["metadata"].get("namespace")
            where = path.rpartition("/")
            target = f"{where[0]}/namespaces/{namespace}/{where[2]}" if namespace else path
            connection.request("POST", target, json.dumps(content), {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 201:
                failures.append(f"{answer.status} {said[:300]}")
        connection.close()

    def authority(self):
        """The CA's files by name, as weft-control has stored them."""
        secret = self.cluster.call("GET", "/api/v1/namespaces/weft-system/secrets/weft-ca")
        return {name: base64.b64decode(content) for name, content in secret["data"].items()}

    def routes_with_status(self):
        """How many routes say how they fare, and how many of these that it is in force."""
        items = self.cluster.call("GET", "/apis/gateway.networking.k8s.io/v1/httproutes")["items"]
        found = [{c["type"]: c["status"] for c in parent["conditions"]} for item in items for parent in item.get("status", {}).get("parents", [])]
        return len(found), sum(entry.get("Programmed") == "True" for entry in found)

    def tell(self, path, content):
        self.version = max(self.version, int(content["metadata"]["resourceVersion"]))
        self.watches[path].put(json.dumps({"type": "MODIFIED", "object": content}, separators=(",", ":")).encode())

    def stop(self):
        with self.lock:
            for events in self.watches.values():
                events.put(None)
        self.server.shutdown()
        self.server.server_close()
        self.cluster.__exit__()
