"""HTTP/1.1 on a socket, for tests that look at the bytes; what its clients have in common."""
import json, socket, sys, time


class Broken(Exception):
    """The connection ended inside a response."""


class Wire:
    def __init__(self, host, port=80, timeout=8):
        self.socket = socket.create_connection((host, int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def ask(self, method, target, *fields, host="app.example", body=b""):
        self.send(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n" + "".join(f + "\r\n" for f in fields) + "\r\n")
        if body:
            self.send(body)

    def more(self):
        """False: the peer's end."""
        piece = self.socket.recv(1 << 16)
        self.data += piece
        return bool(piece)

    def line(self):
        while b"\r\n" not in self.data:
            if not self.more():
                raise Broken(f"the end, after {self.data[:200]!r}")
        line, _, self.data = self.data.partition(b"\r\n")
        return line.decode("latin-1")

    def exactly(self, count):
        while len(self.data) < count:
            if not self.more():
                raise Broken(f"the end, {count - len(self.data)} bytes too early")
        piece, self.data = self.data[:count], self.data[count:]
        return piece

    def fields(self):
        found = []
        while line := self.line():
            name, _, value = line.partition(":")
            found.append([name, value.strip()])
        return found

    def head(self):
        """(status, fields) of the next head, informational ones too."""
        version, status = self.line().split(" ", 2)[:2]
        assert version == "HTTP/1.1", version
        return int(status), self.fields()

    def response(self, to="GET"):
        """The next final response: its status, fields, body and trailers, and how its end was known."""
        status, fields = self.head()
        while status < 200 and status != 101:
            status, fields = self.head()
        header = {name.lower(): value for name, value in fields}
        found = {"status": status, "fields": fields, "body": "", "trailers": [], "framing": "none",
                 "closes": "close" in header.get("connection", "")}
        if to == "HEAD" or status in (101, 204, 304) or to == "CONNECT" and status < 300:
            return found
        if "chunked" in header.get("transfer-encoding", ""):
            body = b""
            while size := int(self.line().split(";")[0], 16):
                body += self.exactly(size)
                assert self.exactly(2) == b"\r\n"
            found |= {"body": body.decode("latin-1"), "trailers": self.fields(), "framing": "chunked"}
        elif "content-length" in header:
            found |= {"body": self.exactly(int(header["content-length"])).decode("latin-1"), "framing": "length"}
        else:
            while self.more():
                pass
            found |= {"body": self.data.decode("latin-1"), "framing": "close"}
        return found

    def json(self):
        return json.loads(self.response()["body"])

    def end(self, timeout=3):
        """How the connection ends within so many seconds: `end`, `reset`, `open`, or bytes that nobody asked for."""
        self.socket.settimeout(timeout)
        try:
            return "end" if not self.data and not self.more() else f"bytes {self.data[:60]!r}"
        except ConnectionError:
            return "reset"
        except TimeoutError:
            return "open"


def report(host, forget=False):
    """What the backend has seen, past the Service's routes."""
    with socket.create_connection((host, 9100), 5) as s:
        s.sendall(b"forget\n" if forget else b"report\n")
        data = b""
        while piece := s.recv(1 << 18):
            data += piece
    return json.loads(data)


def until(condition, seconds=20):
    """The first true value of `condition`, or its last one."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return value


def guarded(function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main(functions):
    """PROGRAM HOST POD-ADDRESS NAME…: the facts of each check by its name."""
    host, pod, *names = sys.argv[1:]
    print(json.dumps({name: guarded(functions[name], host, pod) for name in names}))
