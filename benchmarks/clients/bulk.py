"""One stream: downloads /bulk over one connection for some seconds; prints what arrived as JSON.

Usage: bulk.py HOST PORT SECONDS LENGTH CRC32. The first download is checked whole, and not timed.
"""
import json
import socket
import sys
import time
import zlib

BUFFER = bytearray(256 << 10)
VIEW = memoryview(BUFFER)


def head(connection, host):
    """Asks for the body; its length, and what of it came with the head."""
    connection.sendall(f"GET /bulk HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(4096)
        if not more:
            sys.exit("the connection was closed before the response's head")
        received += more
    text, _, body = received.partition(b"\r\n\r\n")
    lines = text.decode().lower().split("\r\n")
    if lines[0].split()[1] != "200":
        sys.exit(f"expected status 200, got: {lines[0]}")
    return int(next(line.split(":")[1] for line in lines if line.startswith("content-length:"))), body


def main():
    host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    length, crc = int(sys.argv[4]), int(sys.argv[5])
    connection = socket.create_connection((host, port), 10)
    connection.settimeout(10)
    announced, body = head(connection, host)
    if announced != length:
        sys.exit(f"expected {length} bytes, announced are {announced}")
    got, sum_ = len(body), zlib.crc32(body)
    while got < length:
        count = connection.recv_into(BUFFER)
        if count == 0:
            sys.exit(f"the connection was closed after {got} of {length} bytes")
        sum_ = zlib.crc32(VIEW[:count], sum_)
        got += count
    if sum_ != crc:
        sys.exit("the bytes that arrived aren't those that were sent")
    print("checked", flush=True)
    total, start, end = 0, time.monotonic(), time.monotonic() + seconds
    while time.monotonic() < end:
        announced, body = head(connection, host)
        got = len(body)
        while got < announced and time.monotonic() < end:
            count = connection.recv_into(BUFFER)
            if count == 0:
                sys.exit(f"the connection was closed after {got} of {announced} bytes")
            got += count
        total += got
    print(json.dumps({"bytes": total, "seconds": time.monotonic() - start}))


main()
