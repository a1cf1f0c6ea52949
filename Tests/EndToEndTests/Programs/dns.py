"""DNS spoken by hand: dns.py bad | ask NAME [TYPE [udp|tcp [SERVER]]] | serve. Prints JSON."""
import json, os, random, socket, struct, sys

CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
TYPES = {"A": 1, "AAAA": 28, "PTR": 12, "TXT": 16}


def configured():
    with open("/etc/resolv.conf") as file:
        return next(line.split()[1] for line in file if line.startswith("nameserver"))


def wire(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.rstrip(".").split(".")) + b"\0"


def query(name, kind="A", identifier=None):
    return struct.pack(">HHHHHH", identifier or random.randrange(1, 65536), 0x0100, 1, 0, 0, 0) + wire(name) + struct.pack(
        ">HH", TYPES[kind], 1)


def skip(data, at):
    while data[at]:
        if data[at] & 0xc0 == 0xc0:
            return at + 2
        at += data[at] + 1
    return at + 1


def read(data):
    """The facts of an answer."""
    identifier, flags, questions, answers, _, _ = struct.unpack_from(">HHHHHH", data)
    at, addresses, ttls = 12, [], []
    for _ in range(questions):
        at = skip(data, at) + 4
    for _ in range(answers):
        at = skip(data, at)
        kind, _, ttl, length = struct.unpack_from(">HHIH", data, at)
        at += 10
        if kind in (1, 28):
            addresses.append(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data[at:at + length]))
            ttls.append(ttl)
        at += length
    return {"id": identifier, "code": CODES.get(flags & 15, str(flags & 15)), "truncated": bool(flags & 0x200),
            "answer": bool(flags & 0x8000), "addresses": sorted(addresses), "length": len(data)}


def exact(stream, count):
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise ConnectionResetError("the stream ended")
        data += piece
    return data


def ask(name, kind="A", transport="udp", server=None):
    server = server or configured()
    message = query(name, kind)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    if transport == "tcp":
        with socket.create_connection((server, 53), 5) as s:
            s.sendall(struct.pack(">H", len(message)) + message)
            answer = read(exact(s, struct.unpack(">H", exact(s, 2))[0]))
    else:
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.settimeout(4)
            # Unconnected: the answer's own address is what is looked at.
            s.sendto(message, (server, 53))
            data, peer = s.recvfrom(65535)
            answer = read(data) | {"from": peer[0]}
    answer["same_id"] = answer["id"] == struct.unpack(">H", message[:2])[0]
    return answer


def code(transport):
    try:
        return ask("server.shop.svc.cluster.local", "A", transport)["code"]
    except OSError as error:
        return repr(error)


def bad():
    """Packets that break the format, by UDP and TCP; then good ones."""
    random.seed(53)
    header = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0)
    tail = struct.pack(">HH", 1, 1)
    packets = [header[:n] for n in range(12)]
    packets += [
        header, header + b"\xc0\x0c" + tail, header + b"\xc0\x0e\xc0\x0c" + tail, header + b"\xff" * 300,
        header + b"\x3f" + b"a" * 10, header + (b"\x3f" + b"a" * 63) * 5 + b"\0" + tail, header + wire("server.shop"),
        header + wire("x" * 63 + ".shop") + tail, struct.pack(">HHHHHH", 7, 0x0100, 65535, 65535, 65535, 65535) + b"\0" * 100,
        struct.pack(">HHHHHH", 7, 0x8100, 1, 0, 0, 0) + wire("server.shop") + tail,
        header + b"\0" + tail, header + wire("a.b") + struct.pack(">HH", 65535, 65535), header + b"\x80" + tail, b"\0" * 60000,
    ]
    packets += [random.randbytes(random.randrange(1, 1500)) for _ in range(100)]
    good = query("server.shop.svc.cluster.local")
    for _ in range(100):
        broken = bytearray(good)
        for _ in range(3):
            broken[random.randrange(len(broken))] = random.randrange(256)
        packets.append(bytes(broken))
    server, answers = configured(), 0
    for packet in packets:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.01)
            s.sendto(packet, (server, 53))
            try:
                s.recv(65535)
                answers += 1
            except OSError:
                pass
    for packet in packets[:30]:
        for frame in (struct.pack(">H", len(packet)) + packet, struct.pack(">H", 65535) + packet, packet):
            with socket.create_connection((server, 53), 5) as s:
                try:
                    s.sendall(frame)
                except OSError:
                    pass
    return {"sent": len(packets), "answers": answers, "after": code("udp"), "after_tcp": code("tcp")}


def serve():
    """Answers every A query with 192.0.2.53, until it is ended."""
    def answer(message):
        end = skip(message, 12) + 4
        return (message[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + message[12:end] + b"\xc0\x0c"
                + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("192.0.2.53"))
    if os.fork() == 0:
        with socket.create_server(("0.0.0.0", 53)) as listener:
            while True:
                stream, _ = listener.accept()
                with stream:
                    try:
                        message = exact(stream, struct.unpack(">H", exact(stream, 2))[0])
                        reply = answer(message)
                        stream.sendall(struct.pack(">H", len(reply)) + reply)
                    except OSError:
                        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("0.0.0.0", 53))
        while True:
            message, peer = s.recvfrom(4096)
            s.sendto(answer(message), peer)


print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
