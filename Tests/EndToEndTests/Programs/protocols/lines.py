"""Protocols in which the server speaks first: lines.py HOST. When the greeting came, what followed, and how it ended."""
import json, socket, sys, time
from wire import guarded


def talk(host, port, words, greeting_end):
    started = time.monotonic()
    with socket.create_connection((host, port), 5) as s:
        greeting = b""
        while not greeting.endswith(greeting_end):
            piece = s.recv(1000)
            if not piece:
                return {"error": f"the end after {greeting!r}"}
            greeting += piece
        took = int((time.monotonic() - started) * 1000)
        answers = b""
        for word in words:
            s.sendall(word)
            time.sleep(0.01)
        s.shutdown(socket.SHUT_WR)
        while piece := s.recv(1 << 16):
            answers += piece
    return {"greeting": greeting.decode("latin-1"), "milliseconds": took, "answers": answers.decode("latin-1")}


def best(host, port, *arguments):
    """The quickest of nine: the machine is busy, and what waits by design never is quicker."""
    found = sorted((talk(host, port, *arguments) for _ in range(9)), key=lambda each: each.get("milliseconds", 1 << 20))
    return next((each for each in found if "error" in each), found[0])


host = sys.argv[1]
words = [b"EHLO client\r\n", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01 no TLS\r\n", b"QUIT\r\n"]
print(json.dumps({"smtp": guarded(best, host, 25, words, b"\r\n"), "mysql": guarded(best, host, 3306, words, b"\x01" * 66),
                  "declared": guarded(best, host, 90, words, b"\r\n")}))
