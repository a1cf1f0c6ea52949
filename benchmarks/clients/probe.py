"""Opens one connection after the other, each for one request: usage probe.py HOST PORT SECONDS.

Prints a JSON list of [start, end, result]; times by the machine's monotonic clock, the result `ok` or an error's name.
Four threads, so that one held connection doesn't hide what happens to the next.
"""
import json
import socket
import sys
import threading
import time

THREADS = 4


def attempt(host, port):
    with socket.create_connection((host, port), 5) as connection:
        connection.settimeout(5)
        connection.sendall(f"GET /1k HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while more := connection.recv(8192):
            received += more
    return "ok" if received.endswith(b"x" * 1024) and received.split()[1] == b"200" else "cut"


def probe(host, port, end, results):
    while (start := time.monotonic()) < end:
        try:
            result = attempt(host, port)
        except OSError as error:
            result = type(error).__name__
        results.append((start, time.monotonic(), result))
        time.sleep(0.002)


def main():
    host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    results, end = [], time.monotonic() + seconds
    threads = [threading.Thread(target=probe, args=(host, port, end, results)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(sorted(results)))


main()
