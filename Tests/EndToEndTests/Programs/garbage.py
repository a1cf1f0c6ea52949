"""Garbage, half requests and a ClientHello to a port: garbage.py HOST PORT. Prints what came of them as JSON."""
import json, random, socket, ssl, sys, time

host, port = sys.argv[1], int(sys.argv[2])
random.seed(port)


def client_hello():
    """What a TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname="example.com").do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()


HELLO = client_hello()
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MESSAGES = {
    "nothing": b"", "a zero": b"\0", "ones": b"\xff" * 4096, "noise": random.randbytes(100), "much noise": random.randbytes(1 << 20),
    "half a request": b"GET / HTTP/1.1\r\nHost: x", "HTTP/1.1 CONNECT": b"CONNECT 10.0.0.1:80 HTTP/1.1\r\n\r\n",
    "ClientHello": HELLO, "half a ClientHello": HELLO[:20],
    # A record that claims more than TLS allows.
    "a huge record": b"\x16\x03\x01\xff\xff" + b"a" * 100,
    "HTTP/2 without TLS": PREFACE, "an HTTP/2 frame of another time": PREFACE + b"\xff\xff\xff\x07\0\0\0\0\0",
}

found = {}
for name, message in MESSAGES.items():
    data, started = b"", time.monotonic()
    try:
        with socket.create_connection((host, port), 12) as s:
            try:
                s.sendall(message)
                s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            while piece := s.recv(4096):
                data += piece
        end = "end"
    except TimeoutError:
        end = "open"
    except OSError:
        end = "reset"
    # A ServerHello or an alert: TLS record types 20 to 23.
    what = "nothing" if not data else "TLS" if 20 <= data[0] <= 23 else "plaintext"
    found[name] = {"end": end, "got": what, "milliseconds": int((time.monotonic() - started) * 1000)}
print(json.dumps(found))
