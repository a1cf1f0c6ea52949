"""Asks over keep-alive connections until told to stop: usage counting.py HOST PORT AUTHORITY PATH CONNECTIONS LAST.

Prints `tick` after each 500 requests. A line on standard input ends it, as soon as x-generation LAST has been answered
(at most 5 s later); then it prints JSON: requests, failures by name, distinct generations. A failure is any answer but
200 with 1,024 bytes, a connection that ends, an answer without x-generation, and one older than the one before it on
the same connection.
"""
import collections
import json
import selectors
import socket
import sys
import time

TICK, PATIENCE = 500, 5


class Connection:
    def __init__(self, address, request):
        self.socket = socket.create_connection(address, 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(5)
        self.request, self.received, self.generation = request, b"", 0

    def ask(self):
        self.received = b""
        self.socket.sendall(self.request)

    def answer(self):
        """None while it isn't whole; then `ok` or what is wrong with it."""
        more = self.socket.recv(16384)
        if not more:
            return "closed"
        self.received += more
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return None
        lines = head.lower().split(b"\r\n")
        fields = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
        if lines[0].split()[1] != b"200":
            return f"status {lines[0].split()[1].decode()}"
        if len(body) < int(fields.get(b"content-length", 0)):
            return None
        generation = int(fields.get(b"x-generation", -1))
        if body != b"x" * 1024:
            return "wrong body"
        if generation < 0:
            return "not routed"
        if generation < self.generation:
            return "older than the one before"
        self.generation = generation
        return "ok"


def main():
    address, authority, path = (sys.argv[1], int(sys.argv[2])), sys.argv[3], sys.argv[4]
    count, last = int(sys.argv[5]), int(sys.argv[6])
    request = f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nx-version: v2\r\n\r\n".encode()
    results, generations, stopping = collections.Counter(), set(), None
    waiting = selectors.DefaultSelector()
    waiting.register(sys.stdin, selectors.EVENT_READ)

    def start():
        connection = Connection(address, request)
        waiting.register(connection.socket, selectors.EVENT_READ, connection)
        connection.ask()

    for _ in range(count):
        start()
    while stopping is None or last not in generations and time.monotonic() < stopping + PATIENCE:
        ready = waiting.select(PATIENCE)
        if not ready:
            results["no answer"] += count
            break
        for key, _ in ready:
            connection = key.data
            if connection is None:
                stopping = time.monotonic()
                waiting.unregister(sys.stdin)
                continue
            try:
                result = connection.answer()
            except OSError as error:
                result = type(error).__name__
            if result is None:
                continue
            results[result] += 1
            generations.add(connection.generation)
            if sum(results.values()) % TICK == 0:
                print("tick", flush=True)
            if result == "ok":
                connection.ask()
            else:
                waiting.unregister(connection.socket)
                connection.socket.close()
                start()
    if last not in generations:
        results["the last change was never answered by"] += 1
    print(json.dumps({"requests": sum(results.values()), "failures": {
        name: number for name, number in results.items() if name != "ok"}, "generations": len(generations)}))


main()
