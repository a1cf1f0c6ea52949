"""Stands before the real API server and spoils the answers that a test names."""
import http.server, re, socket, threading, time
from relay import relay

EVENT = b'{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"ghost","namespace":"shop","resourceVersion":"1"'
# Bytes; more than any object that etcd takes.
ENDLESS = 64 << 20
# Seconds.
SLOW = 2


def endless():
    yield EVENT + b',"annotations":{"a":"'
    for _ in range(ENDLESS >> 16):
        yield b"x" * (1 << 16)


STREAMS = {
    "cut": lambda: [EVENT], "endless": endless,
    "gone": lambda: [b'{"type":"ERROR","object":{"kind":"Status","status":"Failure","reason":"Expired","code":410}}\n'],
}


class Faults:
    """`rules` are (method, pattern of the path, what happens): a status, "garbage", "nothing", "silence", "slow" (seconds before an answer, and before each
    piece of it), or of a watch "cut" (in
    the middle of an event), "endless" (an event without an end) or "gone" (410 as an event)."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.rules = []
        self.seen = []
        self.streams = set()
        faults = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self):
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length) if length else None
                faults.seen.append((self.command, self.path))
                for method, pattern, fault in list(faults.rules):
                    if method == self.command and re.search(pattern, self.path):
                        return self.spoil(fault, body)
                self.forward(body)

            def spoil(self, fault, body):
                self.close_connection = True
                if fault == "nothing":
                    return
                if fault == "slow":
                    time.sleep(SLOW)
                    return self.forward(body, SLOW / 4)
                if fault == "silence":
                    return time.sleep(60)
                if fault in STREAMS:
                    return self.stream(STREAMS[fault])
                status, content = (200, b"<html>a proxy's page</html>") if fault == "garbage" else (fault, b"{}")
                self.send_response(status)
                if status == 429:
                    self.send_header("retry-after", "1")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def stream(self, pieces):
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.end_headers()
                try:
                    for piece in pieces():
                        self.wfile.write(piece)
                except OSError:
                    # It has read enough.
                    pass

            def forward(self, body, pause=0):
                relay(self, faults.cluster, body, faults.streams, pause)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def drop(self):
        """Ends every answer that is under way: watches have to be asked for again."""
        for stream in list(self.streams):
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except (OSError, AttributeError):
                pass

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
