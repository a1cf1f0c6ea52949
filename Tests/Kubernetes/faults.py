"""Stands before the real API server and spoils the answers that a test names."""
import http.client, http.server, re, ssl, threading, time


class Faults:
    """`rules` are (method, pattern of the path, what happens): a status, "garbage", "nothing" or "silence"."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.rules = []
        self.seen = []
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
                        return self.spoil(fault)
                self.forward(body)

            def spoil(self, fault):
                self.close_connection = True
                if fault == "nothing":
                    return
                if fault == "silence":
                    return time.sleep(60)
                status, content = (200, b"<html>a proxy's page</html>") if fault == "garbage" else (fault, b"{}")
                self.send_response(status)
                if status == 429:
                    self.send_header("retry-after", "1")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def forward(self, body):
                context = ssl.create_default_context(cafile=f"{faults.cluster.folder}/certificates/apiserver.crt")
                upstream = http.client.HTTPSConnection("127.0.0.1", faults.cluster.ports["api"], context=context)
                try:
                    fields = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
                    upstream.request(self.command, self.path, body, fields)
                    answer = upstream.getresponse()
                    self.send_response(answer.status)
                    for name in ("content-type", "retry-after"):
                        if answer.getheader(name):
                            self.send_header(name, answer.getheader(name))
                    self.send_header("transfer-encoding", "chunked")
                    self.end_headers()
                    while chunk := answer.read1(65536):
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                        self.wfile.flush()
                    self.wfile.write(b"0\r\n\r\n")
                except (OSError, http.client.HTTPException):
                    self.close_connection = True
                finally:
                    upstream.close()

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
