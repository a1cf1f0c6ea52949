"""A recorded stream in the place of an API server: its lists in pages, and watches that say what the run tells them."""
import base64, json, queue, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import world


class RecordedAPI:
    """Serves on a port of loopback until `stop`. What is listed is made before, so that the control plane is measured alone."""

    def __init__(self):
        self.pages = {(path, start): world.page(path, start)
            for path, (_, count) in world.KINDS.items() for start in range(0, count, world.PAGE)}
        self.bytes = sum(len(page) for page in self.pages.values())
        self.watches, self.kept = {}, {}
        self.lock = threading.Lock()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                url = urlparse(self.path)
                query = parse_qs(url.query)
                if "watch" in query:
                    return self.watch(url.path)
                if url.path in api.kept:
                    return self.answer(json.dumps(api.kept[url.path]).encode())
                if url.path in world.KINDS:
                    return self.answer(api.pages[url.path, int(query.get("continue", ["0"])[0])])
                resources = [path.rpartition("/")[2] for path in world.KINDS if path.rpartition("/")[0] == url.path]
                if resources:
                    return self.answer(json.dumps({"resources": [{"name": name} for name in resources]}).encode())
                self.answer(b'{"kind":"Status","code":404,"message":"no such resource"}', 404)

            def do_POST(self):
                """Keeps the CA, and lets nobody lead: what the leader writes isn't measured here."""
                content = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if content.get("kind") != "Secret":
                    return self.answer(b'{"kind":"Status","code":404,"message":"no such resource"}', 404)
                content["metadata"]["resourceVersion"] = "1"
                api.kept[f"{self.path}/{content['metadata']['name']}"] = content
                self.answer(json.dumps(content).encode(), 201)

            def answer(self, body, status=200):
                self.send_response(status)
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
                while (event := events.get()) is not None:
                    line = event + b"\n"
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def authority(self):
        """The CA's files by name, as weft-control has stored them."""
        secret = next(content for path, content in self.kept.items() if path.endswith("/weft-ca"))
        return {name: base64.b64decode(content) for name, content in secret["data"].items()}

    def tell(self, path, content):
        self.watches[path].put(json.dumps({"type": "MODIFIED", "object": content}, separators=(",", ":")).encode())

    def stop(self):
        with self.lock:
            for events in self.watches.values():
                events.put(None)
        self.server.shutdown()
