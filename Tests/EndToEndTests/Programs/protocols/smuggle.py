"""Every shape in which one request could be read as two: smuggle.py HOST POD-ADDRESS. Each ends with 400 (or what the
RFC says) and the connection's end, and nothing of it reaches the backend, which keeps every byte that it gets."""
import json, sys
from wire import Wire, guarded, report

HIDDEN = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
POST = "POST /outer HTTP/1.1\r\nHost: a\r\n"
GET = "GET /outer HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + "Transfer-Encoding: chunked\r\n\r\n"
SHAPES = {
    "two lengths": POST + f"Content-Length: 0\r\nContent-Length: {len(HIDDEN)}\r\n\r\n" + HIDDEN,
    "two equal lengths": POST + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + HIDDEN,
    "list of lengths": POST + "Content-Length: 3, 4\r\n\r\nabc" + HIDDEN,
    "length and chunked": POST + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunked and length": POST + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "signed length": POST + "Content-Length: +3\r\n\r\nabc" + HIDDEN,
    "negative length": POST + "Content-Length: -1\r\n\r\n" + HIDDEN,
    "hexadecimal length": POST + "Content-Length: 0x3\r\n\r\nabc" + HIDDEN,
    "length with a space": POST + "Content-Length: 1 0\r\n\r\na" + HIDDEN,
    "huge length": POST + "Content-Length: 18446744073709551617\r\n\r\na" + HIDDEN,
    "empty length": POST + "Content-Length:\r\n\r\n" + HIDDEN,
    "underscored length": POST + "Content-Length: 1_0\r\n\r\n" + HIDDEN,
    "space before the colon": POST + "Content-Length : 3\r\n\r\nabc" + HIDDEN,
    "tab before the colon": POST + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "folded": POST + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "folded first": "POST /outer HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n" + HIDDEN,
    "encoding not last": POST + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "encoding twice": POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunked twice": POST + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "identity": POST + "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "unknown encoding": POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "vertical tab": POST + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "quoted encoding": POST + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunked of HTTP/1.0": "POST /outer HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "bare LF in the head": "POST /outer HTTP/1.1\nHost: a\nContent-Length: 0\n\n" + HIDDEN,
    "one bare LF": "POST /outer HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 40\r\n\r\n" + HIDDEN,
    "bare CR": GET + "X: a\rContent-Length: 40\r\n\r\n" + HIDDEN,
    "CR at the value's end": GET + "X: a\r\r\n\r\n" + HIDDEN,
    "NUL in a value": GET + "X: a\x00b\r\n\r\n" + HIDDEN,
    "NUL in a name": GET + "X\x00: a\r\n\r\n" + HIDDEN,
    "control in the target": "GET /outer\x01 HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "space in the target": "GET /outer /x HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "two spaces": "GET  /outer HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "tab for a space": "GET\t/outer\tHTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "fragment": "GET /outer#x HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "no name": GET + ": x\r\n\r\n" + HIDDEN,
    "no colon": GET + "Content-Length\r\n\r\n" + HIDDEN,
    "space in a name": GET + "Content Length: 40\r\n\r\n" + HIDDEN,
    "no host": "GET /outer HTTP/1.1\r\n\r\n" + HIDDEN,
    "two hosts": GET + "Host: b\r\n\r\n" + HIDDEN,
    "bad host": "GET /outer HTTP/1.1\r\nHost: a b\r\n\r\n" + HIDDEN,
    "host of two": "GET /outer HTTP/1.1\r\nHost: a, b\r\n\r\n" + HIDDEN,
    "bad version": "GET /outer HTTP/1.12\r\nHost: a\r\n\r\n" + HIDDEN,
    "lower-case version": "GET /outer http/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    "no version": "GET /outer\r\nHost: a\r\n\r\n" + HIDDEN,
    "version 2": "GET /outer HTTP/2.0\r\nHost: a\r\n\r\n" + HIDDEN,
    "bad method": "G(T /outer HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
}
# The head is right, so that it may have been forwarded; what is behind it never is.
BODIES = {
    "chunk size of nothing": "\r\n", "chunk size with a sign": "+3\r\nabc\r\n", "chunk size 0x3": "0x3\r\nabc\r\n",
    "chunk size with a space": "3 \r\nabc\r\n", "chunk size before a space": " 3\r\nabc\r\n",
    "chunk size too large": "fffffffffffffffff\r\nabc\r\n", "chunk size with LF": "3\nabc\r\n",
    "chunk end with LF": "3\r\nabc\n0\r\n\r\n", "chunk longer than said": "3\r\nabcd\r\n0\r\n\r\n",
    "extension with LF": "3;a\nb\r\nabc\r\n", "extension with CR": "3;a\rb\r\nabc\r\n",
    "last chunk with LF": "0\n\n", "trailer with LF": "0\r\nX: y\n\r\n", "folded trailer": "0\r\nX: y\r\n z\r\n\r\n",
    "length as a trailer": "0\r\nContent-Length: 40\r\n\r\n",
    "encoding as a trailer": "0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailer with a space before the colon": "0\r\nX : y\r\n\r\n",
}


def sent(host, data):
    with Wire(host) as w:
        w.send(data)
        try:
            status = w.response()["status"]
        except Exception as error:
            status = f"{type(error).__name__}"
        return [status, w.end()]


host, pod = sys.argv[1:]
facts = {"heads": {}, "bodies": {}}
report(pod, forget=True)
for name, data in SHAPES.items():
    facts["heads"][name] = guarded(sent, host, data)
facts["reached"] = report(pod, forget=True)["raw"]
for name, data in BODIES.items():
    facts["bodies"][name] = guarded(sent, host, CHUNKED + data + HIDDEN)
facts["hidden"] = "hidden" in report(pod, forget=True)["raw"]
with Wire(host) as w:
    w.ask("GET", "/echo")
    facts["goes on"] = w.response()["status"]
print(json.dumps(facts))
