"""A server that answers as JSON who it is and what it was asked: HTTP/1.1 on 8080, gRPC on 7070, lines on 9090, and on
8081 the requests that it got with a certain x-key. Usage: echo.py NAME."""
import collections, json, socket, socketserver, sys, threading, time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import packages  # noqa: F401 (finds grpc)
import grpc

NAME = sys.argv[1]
SEEN = collections.deque(maxlen=10_000)


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece
    disable_nagle_algorithm = True

    def body(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        whole = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return whole

    def answer(self):
        query = parse_qs(urlsplit(self.path).query)
        seen = {"name": NAME, "method": self.command, "path": self.path, "host": self.headers.get("host"),
                "headers": [[name.lower(), value] for name, value in self.headers.items()], "bytes": len(self.body())}
        SEEN.append(seen)
        time.sleep(float(query.get("delay", ["0"])[0]))
        text = json.dumps(seen).encode()
        self.send_response(int(query.get("status", ["200"])[0]))
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.send_header("x-served-by", NAME)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = answer

    def log_message(self, *_):
        pass


class Seen(Echo):
    def do_GET(self):
        key = self.path.lstrip("/")
        text = json.dumps([seen for seen in SEEN if ["x-key", key] in seen["headers"]]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(NAME.encode() + b" " + line)


class Calls(grpc.GenericRpcHandler):
    """Any unary method of any service."""

    def service(self, details):
        def say(request, context):
            seen = {"name": NAME, "method": "POST", "path": details.method, "bytes": len(request),
                    "headers": [[name, value] for name, value in context.invocation_metadata()]}
            SEEN.append(seen)
            return json.dumps(seen).encode()
        return grpc.unary_unary_rpc_method_handler(say)


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6  # and IPv4
    request_queue_size = 1024
    daemon_threads = True


class LineServer(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = daemon_threads = True


calls = grpc.server(futures.ThreadPoolExecutor(16), handlers=[Calls()])
calls.add_insecure_port("[::]:7070")
calls.start()
for server in [Server(("::", 8081), Seen), LineServer(("::", 9090), Lines)]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
Server(("::", 8080), Echo).serve_forever()
