"""The clients of the end-to-end tests: client.py WHAT HOST [ARGUMENT…]. Prints facts as JSON; the tests judge them."""
import asyncio, hashlib, json, os, resource, socket, struct, sys, time

PIECE = bytes(range(256)) * 256


def connect(host, port, timeout=8):
    return socket.create_connection((host, int(port)), timeout)


def all_of(sock):
    data = b""
    while piece := sock.recv(1 << 18):
        data += piece
    return data


def kind(error):
    return {ConnectionRefusedError: "refused", ConnectionResetError: "reset", TimeoutError: "timeout",
            BrokenPipeError: "reset"}.get(type(error), f"{type(error).__name__}: {error}")


def who(host, port="8006"):
    """The first line of port 8006, and what this side's own calls say."""
    with connect(host, port) as s:
        answer = json.loads(s.makefile().readline())
        return answer | {"getsockname": list(s.getsockname()[:2]), "getpeername": list(s.getpeername()[:2])}


def names(host, port, count):
    """Which servers answered `count` connections."""
    seen = {}
    for _ in range(int(count)):
        name = who(host, port)["name"]
        seen[name] = seen.get(name, 0) + 1
    return seen


def send(host, count, piece):
    """`count` bytes in pieces to port 8001: what it counted, and what it should have."""
    count, piece = int(count), int(piece)
    data = (PIECE * (piece // len(PIECE) + 1))[:piece]
    seen, left = hashlib.sha256(), count
    with connect(host, 8001, 60) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while left > 0:
            part = data[:left]
            s.sendall(part)
            seen.update(part)
            left -= len(part)
        s.shutdown(socket.SHUT_WR)
        answer = json.loads(all_of(s))
    return {"there": answer, "here": {"count": count, "digest": seen.hexdigest()}}


def fetch(host, count):
    """`count` bytes from port 8002."""
    count, got, seen, right = int(count), 0, hashlib.sha256(), hashlib.sha256()
    with connect(host, 8002, 60) as s:
        s.sendall(f"{count}\n".encode())
        while data := s.recv(1 << 18):
            got += len(data)
            seen.update(data)
    left = count
    while left > 0:
        right.update(PIECE[:left])
        left -= len(PIECE)
    return {"there": {"count": count, "digest": right.hexdigest()}, "here": {"count": got, "digest": seen.hexdigest()}}


def reset_by_server(host):
    with connect(host, 8003) as s:
        s.sendall(b"x")
        try:
            return {"end": "data" if s.recv(10) else "end"}
        except OSError as error:
            return {"end": kind(error)}


def ends(host):
    with connect(host, 8007) as s:
        return json.loads(all_of(s))


def noted(host, before):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if len(seen := ends(host)) > before:
            return seen[-1]
        time.sleep(0.02)
    return {"end": "nothing", "count": -1}


def reset_by_client(host):
    before = len(ends(host))
    s = connect(host, 8005)
    s.sendall(b"12345")
    # A reset discards what hasn't been read on its way.
    time.sleep(1.5)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    return noted(host, before)


def half_closed_by_server(host):
    """The server's end comes first; then a megabyte still goes the other way."""
    before = len(ends(host))
    with connect(host, 8008) as s:
        first = all_of(s)
        s.sendall(b"y" * (1 << 20))
        s.shutdown(socket.SHUT_WR)
        return noted(host, before) | {"first": first.decode()}


def backpressure(host):
    """How much goes out to a server that doesn't read, until nothing moves for a second."""
    with connect(host, 8004) as s:
        s.setblocking(False)
        sent, last = 0, time.monotonic()
        while time.monotonic() - last < 1 and sent < 1 << 28:
            try:
                sent += s.send(PIECE)
                last = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
            except ConnectionError:
                break
        return {"sent": sent}


def server_first(host):
    started = time.monotonic()
    with connect(host, 8010) as s:
        f = s.makefile("rw", newline="\n")
        greeting, took = f.readline(), time.monotonic() - started
        f.write("hello\n")
        f.flush()
        return {"greeting": greeting.strip(), "answer": f.readline().strip(), "milliseconds": int(took * 1000)}


def attempt(host, port, timeout="8"):
    """What becomes of a connection, one byte, and a read."""
    started = time.monotonic()
    stage = "connect"
    try:
        with connect(host, port, float(timeout)) as s:
            stage = "read"
            s.sendall(b"x")
            end = "data" if s.recv(100) else "end"
    except OSError as error:
        end = kind(error)
    return {"stage": stage, "end": end, "milliseconds": int((time.monotonic() - started) * 1000)}


def datagram(host, port="9000"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        s.connect((host, int(port)))
        s.send(b"x" * 1000)
        answer = s.recv(2000).split(b" ", 3)
        return {"name": answer[0].decode(), "peer": [answer[1].decode(), int(answer[2])], "length": len(answer[3]),
                "getsockname": list(s.getsockname()[:2]), "getpeername": list(s.getpeername()[:2])}


async def one(host, port, gate=None):
    reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 120)
    try:
        await asyncio.wait_for(reader.readline(), 120)
        writer.write(b"ping\n")
        answer = await asyncio.wait_for(reader.readline(), 120)
        if gate:
            gate[0] += 1
            await gate[1].wait()
            writer.write(b"pong\n")
            answer = await asyncio.wait_for(reader.readline(), 120)
            return answer == b"pong\n"
        return answer == b"ping\n"
    finally:
        writer.close()


async def concurrent(host, port, count):
    """`count` connections open at once, each used at the beginning and again when all are there."""
    gate = [0, asyncio.Event()]
    tasks = [asyncio.create_task(one(host, port, gate)) for _ in range(count)]
    deadline = time.monotonic() + 150
    while gate[0] < count and time.monotonic() < deadline and not any(t.done() for t in tasks):
        await asyncio.sleep(0.05)
    at_once = gate[0]
    gate[1].set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    errors = sorted({repr(r) for r in results if isinstance(r, BaseException)})
    return {"at_once": at_once, "good": sum(r is True for r in results), "errors": errors[:5]}


async def many(host, port, count):
    """`count` short connections, 50 at a time."""
    left, good, errors = count, 0, {}

    async def worker():
        nonlocal left, good
        while left > 0:
            left -= 1
            try:
                result = await one(host, port)
                good += result
            except Exception as error:
                errors[repr(error)] = errors.get(repr(error), 0) + 1

    await asyncio.gather(*(worker() for _ in range(50)))
    return {"good": good, "errors": errors}


def steady(host, port, seconds):
    """A new connection every few milliseconds, until SECONDS have passed: what each met."""
    end = time.monotonic() + float(seconds)
    found = {"good": 0, "refused": 0, "broken": 0, "worst_ms": 0}
    last = time.monotonic()
    while time.monotonic() < end:
        try:
            with connect(host, port, 5) as s:
                f = s.makefile()
                f.readline()
                s.sendall(b"ping\n")
                if f.readline() != "ping\n":
                    raise ConnectionResetError
            found["good"] += 1
            found["worst_ms"] = max(found["worst_ms"], int((time.monotonic() - last) * 1000))
            last = time.monotonic()
        except ConnectionRefusedError:
            found["refused"] += 1
        except OSError as error:
            found["broken"] += 1
            found["error"] = repr(error)
        time.sleep(0.003)
    return found


def long(host, port, seconds):
    """One connection, in use for SECONDS: how many turns it did, and whether it held."""
    end, turns, worst = time.monotonic() + float(seconds), 0, 0
    with connect(host, port, 10) as s:
        f = s.makefile()
        name = json.loads(f.readline())["name"]
        print("open", file=sys.stderr, flush=True)
        while time.monotonic() < end:
            before = time.monotonic()
            s.sendall(b"turn\n")
            if f.readline() != "turn\n":
                return {"name": name, "turns": turns, "held": False}
            turns, worst = turns + 1, max(worst, int((time.monotonic() - before) * 1000))
            time.sleep(0.01)
    return {"name": name, "turns": turns, "held": True, "worst_ms": worst}


def raw(host, port, hexadecimal, wait="1"):
    """Sends bytes as they are; what comes back, and how it ends."""
    try:
        with connect(host, port, 5) as s:
            s.sendall(bytes.fromhex(hexadecimal))
            s.settimeout(float(wait))
            return {"got": all_of(s)[:200].hex(), "end": "end"}
    except OSError as error:
        return {"got": "", "end": kind(error)}


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
    what, arguments = sys.argv[1], sys.argv[2:]
    if what in ("concurrent", "many"):
        host, port, count = arguments
        result = asyncio.run(globals()[what](host, int(port), int(count)))
    else:
        result = globals()[what](*arguments)
    print(json.dumps(result))


main()
