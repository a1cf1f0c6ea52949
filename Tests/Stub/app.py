"""An application of the tests, client or server; each prints one line.

serve PORT NAME            answers `NAME PEER` at once, then sends back what it reads until the client's end of file
ask HOST PORT              prints the first line
send HOST PORT BYTES       sends, half-closes, and compares what comes back
hold HOST PORT SECONDS     stays open, prints `open`, then `alive` or `reset`
slow HOST PORT BYTES       sends and doesn't read what comes back until all that fits has been sent
"""
import os
import select
import socket
import sys
import threading
import time


def answer(connection, peer, name):
    with connection:
        try:
            connection.sendall(f"{name} {peer[0]}\n".encode())
            while more := connection.recv(1 << 16):
                connection.sendall(more)
        except OSError:
            pass


def serve(port, name):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
    while True:
        connection, peer = listener.accept()
        threading.Thread(target=answer, args=(connection, peer, name), daemon=True).start()


def connect(host, port):
    connection = socket.create_connection((host, int(port)), 10)
    connection.settimeout(30)
    return connection, connection.makefile("rb")


def ask(host, port):
    connection, lines = connect(host, port)
    with connection:
        line = lines.readline().decode().strip()
    print(line or "nothing")
    sys.exit(0 if line else 1)


def send(host, port, count):
    content = os.urandom(int(count))
    connection, lines = connect(host, port)
    with connection:
        lines.readline()
        writer = threading.Thread(target=lambda: (connection.sendall(content), connection.shutdown(socket.SHUT_WR)))
        writer.start()
        got = lines.read()
        writer.join()
    if got != content:
        sys.exit(f"sent {count} bytes, got {len(got)} back")
    print(f"{count} bytes there and back")


def hold(host, port, seconds):
    connection, lines = connect(host, port)
    with connection:
        lines.readline()
        print("open", flush=True)
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            try:
                connection.sendall(b"x")
                if lines.read(1) != b"x":
                    sys.exit("ended")
            except OSError as error:
                sys.exit(f"reset: {error}")
            time.sleep(0.05)
    print("alive")


def slow(host, port, count):
    """How much fits in between while nobody reads."""
    connection, lines = connect(host, port)
    with connection:
        lines.readline()
        connection.setblocking(False)
        sent = 0
        quiet = time.monotonic()
        while sent < int(count) and time.monotonic() - quiet < 2:
            if select.select([], [connection], [], 0.2)[1]:
                sent += connection.send(bytes(min(1 << 16, int(count) - sent)))
                quiet = time.monotonic()
        print(sent, flush=True)
        time.sleep(2)


what, *arguments = sys.argv[1:]
if what == "serve":
    serve(int(arguments[0]), arguments[1])
else:
    try:
        {"ask": ask, "send": send, "hold": hold, "slow": slow}[what](*arguments)
    except OSError as error:
        sys.exit(f"{type(error).__name__}: {error}")
