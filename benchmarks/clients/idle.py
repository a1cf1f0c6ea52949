"""Holds idle keep-alive connections: usage idle.py HOST PORT COUNT.

Each asks for /1k once; then `ready` is printed. A line on standard input makes each ask again, and `alive` is printed.
"""
import resource
import socket
import sys


def ask(connection, host):
    connection.sendall(f"GET /1k HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    received = b""
    while len(received.partition(b"\r\n\r\n")[2]) < 1024:
        more = connection.recv(8192)
        if not more:
            sys.exit("a connection was closed before its response was complete")
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    if head.split()[1] != b"200" or body != b"x" * 1024:
        sys.exit(f"expected status 200 and 1024 bytes, got {len(body)} bytes after: {head.splitlines()[0]!r}")


def main():
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, max(count + 100, hard)))
    connections = []
    for _ in range(count):
        connection = socket.create_connection((host, port), 10)
        ask(connection, host)
        connections.append(connection)
    print("ready", flush=True)
    sys.stdin.readline()
    for connection in connections:
        ask(connection, host)
    print("alive", flush=True)


main()
