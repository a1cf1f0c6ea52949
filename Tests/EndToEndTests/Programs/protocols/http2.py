"""HTTP/2 by its frames: http2.py HOST POD-ADDRESS NAME…. What is beyond the rules ends its own connection or stream, and
no other. Heads are sent as literals without Huffman codes (RFC 7541 §6.2.2); of answers little is read."""
import socket, struct, threading, time
from wire import main

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PORT = 84


def frame(kind, flags=0, stream=0, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    def text(data):
        data = data if isinstance(data, bytes) else data.encode("latin-1")
        if len(data) < 127:
            return bytes([len(data)]) + data
        rest, out = len(data) - 127, b"\x7f"
        while rest >= 128:
            out += bytes([rest & 127 | 128])
            rest >>= 7
        return out + bytes([rest]) + data
    return b"\x00" + text(name) + text(value)


def fields(*more, method="GET", path="/1k"):
    pseudo = [(":method", method), (":scheme", "http"), (":authority", "app.example"), (":path", path)]
    return b"".join(literal(name, value) for name, value in [*pseudo, *more])


class Peer:
    def __init__(self, host, port=PORT, window=None):
        self.socket = socket.create_connection((host, port), 8)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        settings = b"" if window is None else struct.pack(">HI", 4, window)
        self.data, self.next, self.over = b"", 1, None
        self.send(PREFACE + frame(SETTINGS, payload=settings) + (
            frame(WINDOW, payload=(window - 65535).to_bytes(4, "big")) if window else b""))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def request(self, *more, end=True, **how):
        stream, self.next = self.next, self.next + 2
        self.send(frame(HEADERS, 4 | (1 if end else 0), stream, fields(*more, **how)))
        return stream

    def frame(self):
        """The next frame as (kind, flags, stream, payload); None: the connection's end."""
        while len(self.data) < 9 or len(self.data) < 9 + int.from_bytes(self.data[:3], "big"):
            try:
                piece = self.socket.recv(1 << 18)
            except ConnectionError:
                piece = b""
            if not piece:
                return None
            self.data += piece
        length = int.from_bytes(self.data[:3], "big")
        found = self.data[3], self.data[4], int.from_bytes(self.data[5:9], "big") & 0x7fffffff, self.data[9:9 + length]
        self.data = self.data[9 + length:]
        if found[0] == SETTINGS and not found[1] & 1:
            try:
                self.send(frame(SETTINGS, 1))
            except OSError:
                pass  # What the peer said before it closed is still read.
        return found

    def answer(self, stream):
        """What becomes of a stream: its head's first byte (0x88: status 200), bytes of content, and how it ended."""
        first, count = None, 0
        while (got := self.frame()) is not None:
            kind, flags, of, payload = got
            if kind == GOAWAY and int.from_bytes(payload[4:8], "big"):
                return {"end": f"goaway {int.from_bytes(payload[4:8], 'big')}"}
            if of != stream:
                continue
            if kind == HEADERS and first is None:
                # A change of the table's size may stand before.
                first = payload.lstrip(b"\x20\x3f\xe1\x1f")[:1].hex()
            if kind == DATA:
                count += len(payload)
                if payload:
                    credit = len(payload).to_bytes(4, "big")
                    self.send(frame(WINDOW, 0, 0, credit) + (
                        b"" if flags & 1 else frame(WINDOW, 0, stream, credit)))
            if kind == RST:
                return {"first": first, "count": count, "end": f"reset {int.from_bytes(payload, 'big')}"}
            if flags & 1 and kind in (HEADERS, DATA):
                return {"first": first, "count": count, "end": "whole"}
        return {"end": "closed"}

    def last(self, seconds=8):
        """How the whole connection ended: the code of its GOAWAY."""
        self.socket.settimeout(seconds)
        code = None
        try:
            while (got := self.frame()) is not None:
                if got[0] == GOAWAY:
                    code = int.from_bytes(got[3][4:8], "big")
            return code if code is not None else "closed"
        except TimeoutError:
            return f"open, {code}"


def flooded(host, make, count, seconds=8):
    """Sends up to `count` of what `make` gives while a thread reads; the GOAWAY's code, and whether all could be sent.
    Another connection's requests are answered before, meanwhile and behind."""
    with Peer(host) as other, Peer(host) as bad:
        before = other.answer(other.request())["end"]
        ends = []
        reader = threading.Thread(target=lambda: ends.append(bad.last(seconds)))
        reader.start()
        sent = 0
        meanwhile = []
        try:
            while sent < count and reader.is_alive():
                bad.send(b"".join(make(number) for number in range(sent, sent + 100)))
                sent += 100
                if sent % 2000 == 0:
                    meanwhile.append(other.answer(other.request())["end"])
        except OSError:
            pass
        reader.join()
        after = other.answer(other.request())["end"]
        return {"ended": ends[0], "bounded": sent < count, "others": [before, after], "meanwhile": sorted(set(meanwhile))}


def rapid_reset(host, pod):
    head = fields()
    return flooded(host, lambda n: frame(HEADERS, 5, 2 * n + 1, head) + frame(RST, 0, 2 * n + 1, b"\0\0\0\x08"), 100_000)


def made_to_reset(host, pod):
    """Streams that the peer's mistakes reset (CVE-2025-8671)."""
    head = fields()
    return flooded(host, lambda n: frame(HEADERS, 5, 2 * n + 1, head) + frame(WINDOW, 0, 2 * n + 1, b"\0\0\0\0"), 100_000)


def continuations(host, pod):
    def make(number):
        return frame(HEADERS, 1, 1, fields()) if number == 0 else frame(CONTINUATION, 0, 1, literal("x-a", "b"))
    return flooded(host, make, 100_000)


def empty_continuations(host, pod):
    return flooded(host, lambda n: frame(CONTINUATION if n else HEADERS, 0 if n else 1, 1), 100_000)


def settings(host, pod):
    return flooded(host, lambda n: frame(SETTINGS, payload=struct.pack(">HI", 4, 65535 + n % 2)), 1_000_000)


def pings(host, pod):
    return flooded(host, lambda n: frame(PING, payload=b"12345678"), 1_000_000)


def priorities(host, pod):
    return flooded(host, lambda n: frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"), 1_000_000)


def empty_data(host, pod):
    head = fields(method="POST", path="/")
    return flooded(host, lambda n: frame(DATA, 0, 1) if n else frame(HEADERS, 4, 1, head), 1_000_000)


def hpack_bomb(host, pod):
    """A field of 4,000 bytes in the table, and a head that names it 16,000 times."""
    def make(number):
        if number == 0:
            entry = b"\x40\x03x-y\x7f" + bytes([(3900 - 127) & 127 | 128, (3900 - 127) >> 7]) + b"z" * 3900
            return frame(HEADERS, 5, 1, fields() + entry)
        return frame(HEADERS, 5, 2 * number + 1, fields() + b"\xbe" * 16_000)
    with Peer(host) as other, Peer(host) as bad:
        ends = []
        try:
            for number in range(2000):
                bad.send(make(number))
                ends.append(bad.answer(2 * number + 1))
                if "goaway" in ends[-1]["end"] or ends[-1]["end"] == "closed":
                    break
        except OSError:
            pass
        return {"first": ends[0], "bombs": sorted({str(e.get("first")) for e in ends[1:]}), "last": ends[-1]["end"],
                "other": other.answer(other.request())["end"]}


def unread(host, pod):
    """A peer that asks and asks, and reads nothing: its connection is held up or ended, at a bounded cost."""
    with Peer(host) as other, Peer(host) as bad:
        bad.socket.settimeout(1)
        sent = 0
        try:
            for _ in range(2000):
                bad.send(frame(PING, payload=b"12345678") * 1000)
                sent += 17_000
        except OSError:
            pass
        return {"sent": sent, "other": other.answer(other.request())["end"]}


def malformed(host, pod):
    """Requests that HTTP/2 forbids end their stream, or the connection where its state is lost; the next is answered."""
    found = {}
    cases = {
        "upper case": [("X-Up", "a")], "connection": [("connection", "close")], "encoding": [
            ("transfer-encoding", "chunked")], "upgrade": [("upgrade", "h2c")], "te": [("te", "gzip")],
        "CR LF": [("x-a", "b\r\nGET /hidden HTTP/1.1")], "LF": [("x-a", "b\nc")], "NUL": [("x-a", "b\0c")],
        "space before": [("x-a", " b")], "space in a name": [("x a", "b")], "colon in a name": [("x:a", "b")],
        "late pseudo": [("x-a", "b"), (":path", "/")], "second path": [(":path", "/b")], "unknown pseudo": [(":x", "b")],
        "two lengths": [("content-length", "1"), ("content-length", "2")], "length without content": [
            ("content-length", "5")], "signed length": [("content-length", "+0")],
    }
    with Peer(host) as p:
        for name, more in cases.items():
            found[name] = p.answer(p.request(*more))["end"]
        for name, path in [("CR LF in the path", "/a\r\nX: y"), ("space in the path", "/a b"), ("empty path", ""),
                           ("relative path", "a")]:
            found[name] = p.answer(p.request(path=path))["end"]
        stream = p.request(("content-length", "3"), method="POST", end=False)
        p.send(frame(DATA, 1, stream, b"abcd"))
        found["longer than said"] = p.answer(stream)["end"]
        found["next"] = p.answer(p.request())["end"]
    return found


def broken_frames(host, pod):
    """What breaks the connection: the code of its GOAWAY, and that another's goes on."""
    found = {}
    with Peer(host) as other:
        for name, data in {
            "data on stream 0": frame(DATA, 0, 0, b"a"), "data on an idle stream": frame(DATA, 0, 9, b"a"),
            "even stream": frame(HEADERS, 5, 2, fields()), "ping of 7": frame(PING, payload=b"1234567"),
            "settings of 5": frame(SETTINGS, payload=b"12345"), "window of nothing": frame(WINDOW, payload=b"\0\0\0\0"),
            "window overflow": frame(WINDOW, payload=b"\x7f\xff\xff\xff"), "push": frame(PUSH, 4, 1, b"\0\0\0\2"),
            "continuation alone": frame(CONTINUATION, 4, 1, b""), "bad table index": frame(HEADERS, 5, 1, b"\xff\x7f"),
            "huge frame": frame(HEADERS, 5, 1, b"\0" * 300_000), "reset of an idle stream": frame(RST, 0, 7, b"\0" * 4),
            "initial window too large": frame(SETTINGS, payload=struct.pack(">HI", 4, 1 << 31)),
            "frame size too small": frame(SETTINGS, payload=struct.pack(">HI", 5, 100)),
        }.items():
            with Peer(host) as p:
                try:
                    p.send(data)
                except OSError:
                    pass
                found[name] = p.last(3)
        found["other"] = other.answer(other.request())["end"]
    return found


def windows(host, pod):
    """A client that opens its window byte by byte, and one that opens it behind the head only."""
    with Peer(host) as p:
        p.send(frame(SETTINGS, payload=struct.pack(">HI", 4, 0)))
        stream = p.request()
        got, count, trickle = None, 0, 0
        while count < 1024:
            kind, flags, of, payload = p.frame()
            if kind == HEADERS and of == stream and not trickle:
                trickle = 1
                p.send(frame(WINDOW, 0, stream, b"\0\0\0\x01"))
            if kind == DATA and of == stream:
                count += len(payload)
                if len(payload) > 1 and count < 600:
                    got = "too much"
                p.send(frame(WINDOW, 0, stream, b"\0\0\0\x01" if count < 600 else b"\0\0\x04\0"))
        return {"count": count, "fault": got}


if __name__ == "__main__":
    main(globals())
