"""Checks of HTTP/1.1 by its bytes: http1.py HOST POD-ADDRESS NAME…. Prints facts; the tests judge them."""
import hashlib, json, socket, struct, threading, time
from wire import Broken, Wire, main, report, until


def order(host, pod):
    """Header order, case and repetition, both ways."""
    with Wire(host) as w:
        w.send(f"GET /echo?x=%2F&y HTTP/1.1\r\nX-ZULU: 1\r\nhOsT: app.example\r\naLPHA: b,  c\r\nX-ZULU: 2\r\n"
               "Cookie: a=1; b=2\r\nEmpty:\r\nConnection: x-hop, keep-alive\r\nX-Hop: gone\r\nTE: gzip\r\n"
               "Proxy-Connection: keep-alive\r\nKeep-Alive: 5\r\n\r\n")
        answer = w.response()
    seen = json.loads(answer["body"])
    names = {"x-zulu", "alpha", "cookie", "empty", "host"}
    dropped = {"x-hop", "te", "proxy-connection", "keep-alive", "upgrade"}
    return {"line": seen["line"], "sent": [f for f in seen["fields"] if f[0].lower() in names],
            "dropped": sorted(f[0] for f in seen["fields"] if f[0].lower() in dropped),
            "returned": [f for f in answer["fields"] if f[0].lower() in ("x-zebra", "x-alpha")],
            "added": sorted(f[0] for f in seen["fields"] if f[0].lower() in (
                "x-forwarded-for", "x-forwarded-proto", "x-request-id"))}


def targets(host, pod):
    """What the backend sees of each form of target."""
    found = {}
    for form, (line, name) in {
        "absolute": ("GET http://app.example/echo?q=1 HTTP/1.1", "other.example"),
        "absolute with no path": ("GET http://app.example HTTP/1.1", "app.example"),
        "absolute with port": ("GET http://app.example:80/echo HTTP/1.1", "app.example"),
        "asterisk": ("OPTIONS * HTTP/1.1", "app.example"),
        "absolute asterisk": ("OPTIONS http://app.example HTTP/1.1", "app.example"),
        "dots": ("GET /a/../b//c/./d HTTP/1.1", "app.example"),
        "encoded": ("GET /%7Ea%2Fb?c=%20&d HTTP/1.1", "app.example"),
    }.items():
        with Wire(host) as w:
            w.send(f"{line}\r\nHost: {name}\r\n\r\n")
            seen = w.json()
            hosts = [f[1] for f in seen["fields"] if f[0].lower() == "host"]
            found[form] = [seen["line"], *hosts]
    return found


def pipelined(host, pod):
    """Three hundred requests in one write, of several kinds: the answers in their order."""
    count, good = 300, 0
    with Wire(host) as w:
        data = b""
        for number in range(count):
            body = b"x" * (number % 7)
            if number % 3 == 0:
                data += f"GET /echo?n={number} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
            elif number % 3 == 1:
                data += (f"POST /echo?n={number} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                         + body)
            else:
                chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
                data += (f"PUT /echo?n={number} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
                         + chunk + b"0\r\n\r\n")
        sender = threading.Thread(target=w.send, args=(data,))
        sender.start()
        for number in range(count):
            seen = w.json()
            good += f"n={number} " in seen["line"] and (number % 3 == 0 or seen["count"] == number % 7)
        sender.join()
    return {"count": count, "good": good}


def halves(host, pod):
    """Every request cut in two at each byte."""
    data = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
    good = 0
    with Wire(host) as w:
        for cut in range(1, len(data)):
            w.send(data[:cut])
            time.sleep(0.001)
            w.send(data[cut:])
            seen = w.json()
            good += seen["count"] == 3 and ["X-T", "1"] in seen["trailers"]
    return {"count": len(data) - 1, "good": good}


def trailers(host, pod):
    with Wire(host) as w:
        w.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
               "5;name=\"v\"\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 6\r\nX-MORE: Yes\r\n\r\n")
        up = w.json()
        w.ask("GET", "/chunked", "TE: trailers")
        down = w.response()
    return {"count": up["count"], "up": up["trailers"], "body": down["body"], "down": down["trailers"]}


def bodiless(host, pod):
    """HEAD, 204, 304 and 103, and that the connection goes on behind each."""
    found = {}
    with Wire(host) as w:
        for name, method, target in [("HEAD", "HEAD", "/head"), ("204", "GET", "/204"), ("304", "GET", "/304")]:
            w.ask(method, target)
            answer = w.response(method)
            found[name] = [answer["status"], sorted(f for f in answer["fields"] if f[0].lower() in (
                "content-length", "transfer-encoding", "etag", "x-kept", "x-of"))]
            w.ask("GET", "/echo")
            found[name + " goes on"] = w.response()["status"]
        w.ask("GET", "/hints")
        first = w.head()
        found["103"] = [first[0], [f for f in first[1] if f[0] == "Link"], w.response()["body"]]
    return found


def continues(host, pod):
    """`Expect: 100-continue`: the server's own answer, before the body is sent."""
    found = {}
    with Wire(host) as w:
        started = time.monotonic()
        w.ask("POST", "/echo", "Expect: 100-continue", "Content-Length: 5")
        found["first"] = w.head()[0]
        found["waited"] = time.monotonic() - started > 0.05
        w.send("hello")
        found["count"] = w.json()["count"]
    with Wire(host) as w:
        w.ask("POST", "/refuse", "Expect: 100-continue", "Content-Length: 5")
        answer = w.response()
        found["refused"] = answer["status"]
        found["refused closes"] = answer["closes"] and w.end() in ("end", "reset")
    return found


def connects(host, pod):
    """CONNECT and an upgrade: bytes as they come, and the client's half that ends first."""
    found = {}
    for name, method, target, fields, status in [
        ("connect", "CONNECT", "other.example:99", (), 200),
        ("upgrade", "GET", "/upgrade", ("Connection: Upgrade", "Upgrade: echo"), 101),
    ]:
        with Wire(host) as w:
            w.ask(method, target, *fields)
            answer = w.response(method)
            data = bytes(range(256)) * 4096
            sender = threading.Thread(target=w.send, args=(data,))
            sender.start()
            echoed = w.exactly(len(data)) == data
            sender.join()
            w.socket.shutdown(socket.SHUT_WR)
            rest = w.data
            while w.more():
                rest = w.data
            found[name] = {"status": answer["status"], "echoed": echoed, "rest": rest.decode()}
    with Wire(host) as w:
        # A server that doesn't upgrade answers; the connection stays HTTP.
        w.ask("GET", "/echo", "Connection: Upgrade", "Upgrade: other")
        first = w.response()["status"]
        w.ask("GET", "/echo")
        found["no upgrade"] = [first, w.response()["status"]]
    return found


def old(host, pod):
    """HTTP/1.0, from each side."""
    found = {}
    for name, fields in [("plain", ""), ("kept", "Connection: keep-alive\r\n")]:
        with Wire(host) as w:
            w.send(f"GET /echo HTTP/1.0\r\n{fields}\r\n")
            answer = w.response()
            found[name] = [answer["status"], json.loads(answer["body"])["line"], w.end(8 if name == "plain" else 1)]
    with Wire(host) as w:
        w.send("GET /chunked HTTP/1.0\r\nHost: a\r\n\r\n")
        answer = w.response()
        found["unchunked"] = [answer["framing"], answer["body"]]
    with Wire(host) as w:
        w.ask("GET", "/old")
        answer = w.response()
        found["server"] = [answer["framing"], answer["body"]]
        w.ask("GET", "/echo")
        found["server goes on"] = w.response()["status"]
    return found


def bounds(host, pod):
    """What is too long: its status, and the connection's end."""
    found = {}
    big = "x" * 1000
    for name, head in {
        "head": "GET /echo HTTP/1.1\r\nHost: a\r\n" + "".join(f"X-{n}: {big}\r\n" for n in range(100)) + "\r\n",
        "one field": f"GET /echo HTTP/1.1\r\nHost: a\r\nX: {'y' * 200_000}\r\n\r\n",
        "fields": "GET /echo HTTP/1.1\r\nHost: a\r\n" + "".join(f"X-{n}: 1\r\n" for n in range(1000)) + "\r\n",
        "target": f"GET /{'z' * 100_000} HTTP/1.1\r\nHost: a\r\n\r\n",
    }.items():
        with Wire(host) as w:
            w.send(head)
            answer = w.response()
            found[name] = [answer["status"], answer["closes"], w.end()]
    with Wire(host) as w:
        # Below the bounds: whole.
        w.send("GET /echo HTTP/1.1\r\nHost: a\r\n" + "".join(f"X-{n}: {big}\r\n" for n in range(50)) + "\r\n")
        found["fits"] = sum(len(f[1]) for f in w.json()["fields"] if f[1] == big)
    return found


def many(host, pod):
    """10,000 requests on one connection, twenty under way at a time."""
    count, window, good = 10_000, 20, 0
    request = b"GET /n HTTP/1.1\r\nHost: app.example\r\n\r\n"
    with Wire(host, 82) as w:
        w.send(request * window)
        for number in range(count):
            answer = w.response()
            good += answer["status"] == 200 and answer["body"].startswith("nginx GET /n app.example")
            if number % window == window - 1 and number + 1 < count:
                w.send(request * window)
        return {"good": good, "closed": answer["closes"]}


def idle_closed(host, pod):
    """A server that closes its connection behind an answer, at once or a little later: no GET may fail."""
    good, count = 0, 0
    with Wire(host) as w:
        for after in ["0", "0.001", "0.003"] * 40:
            count += 1
            w.ask("GET", f"/close-after?after={after}")
            good += w.response()["status"] == 200
    return {"count": count, "good": good}


def dying(host, pod):
    """A server that dies within its answer: the client has to see that it isn't whole."""
    found = {}
    for name in ["length", "length&reset", "chunked", "chunked&reset"]:
        with Wire(host) as w:
            w.ask("GET", f"/die?{name}=1".replace("&reset=1", "=1&reset=1"))
            try:
                found[name] = "whole: " + w.response()["body"][:20]
            except (Broken, ConnectionError):
                found[name] = "broken"
    return found


def leaving(host, pod):
    """Clients that go in the middle of an answer, or of their request: the backend hears of it, and nothing stays."""
    # Idle ones of earlier requests, each event loop's.
    before = report(pod, forget=True)["open"]
    with Wire(host) as w:
        w.ask("GET", "/drip")
        w.head()
        w.exactly(20)
    dripped = until(lambda: "drip: let go" in report(pod)["ends"])
    with Wire(host) as w:
        w.ask("GET", "/big?count=1000000000")
        w.head()
        w.exactly(100_000)
        w.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    big = until(lambda: "big: broken" in report(pod)["ends"])
    with Wire(host) as w:
        w.ask("POST", "/echo", "Content-Length: 1000", body=b"x" * 10)
        time.sleep(0.5)
    asked = report(pod)["requests"]
    with Wire(host) as w:
        w.ask("GET", "/hold")
        # A reset discards what hasn't been read on its way.
        until(lambda: report(pod)["requests"] > asked)
        w.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    held = until(lambda: any(e.startswith("hold") for e in report(pod)["ends"]))
    # One idle connection may be kept, and those that were there; none of those above.
    rest = until(lambda: report(pod)["open"] <= max(1, before))
    return {"drip": dripped, "big": big, "hold": held, "rest": rest}


def early(host, pod):
    """An answer that comes before the request is whole: it reaches the client, which is still sending."""
    with Wire(host) as w:
        w.ask("POST", "/early", "Content-Length: 100000000")
        sent = 0
        try:
            w.socket.settimeout(0.5)
            for _ in range(200):
                sent += w.socket.send(b"x" * 65536)
        except OSError:
            pass
        w.socket.settimeout(5)
        answer = w.response()
        return {"status": answer["status"], "body": answer["body"], "closes": answer["closes"]}


def bad_answers(host, pod):
    """What a server says that isn't HTTP becomes 502, never a client's confusion."""
    found = []
    for shape in range(11):
        with Wire(host) as w:
            w.ask("GET", f"/bad?shape={shape}")
            answer = w.response()
            w.ask("GET", "/echo")
            found.append([answer["status"], w.response()["status"]])
    return found


def last_words(host, pod):
    """A client that ends its direction behind its request still gets its answer, and an orderly end."""
    found = []
    for target in ["/echo", "/echo?pause=0.2"]:
        with Wire(host) as w:
            w.ask("GET", target)
            w.socket.shutdown(socket.SHUT_WR)
            found.append([w.response()["status"], w.end()])
    with Wire(host) as w:
        w.ask("GET", "/echo")
        status = w.response()["status"]
        w.socket.shutdown(socket.SHUT_WR)
        found.append([status, w.end()])
    return found


main(globals())
