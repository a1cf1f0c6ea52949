"""One connection, both directions, and half-close: `pipe.py serve PORT` and `pipe.py send HOST PORT BYTES`.

The server reads until the client's end of file, then sends everything back; the client compares.
"""
import os
import socket
import sys
import threading


def read_all(connection):
    received = bytearray()
    while more := connection.recv(1 << 16):
        received += more
    return bytes(received)


def answer(connection):
    with connection:
        connection.sendall(read_all(connection))


def serve(port):
    listener = socket.create_server(("", port), backlog=64, reuse_port=False)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def send(host, port, count):
    content = os.urandom(count)
    with socket.create_connection((host, port), 10) as connection:
        connection.settimeout(30)
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        got = read_all(connection)
    if got != content:
        sys.exit(f"sent {count} bytes, got {len(got)} back" + ("" if len(got) != count else ", and others"))
    print(f"{count} bytes there and back")


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
