"""What the servers of the end-to-end tests do, one port for each behaviour. Usage: server.py NAME."""
import asyncio, hashlib, json, resource, socket, sys

NAME = sys.argv[1]
PIECE = bytes(range(256)) * 256
ENDS = []  # how the connections of port 8005 ended


def line(writer):
    peer, own = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
    return json.dumps({"name": NAME, "peer": [peer[0], peer[1]], "own": [own[0], own[1]]}).encode() + b"\n"


async def digest(reader, writer):
    """8001: the count and digest of all that the client sent until its end."""
    seen, count = hashlib.sha256(), 0
    while data := await reader.read(1 << 18):
        seen.update(data)
        count += len(data)
    writer.write(json.dumps({"count": count, "digest": seen.hexdigest()}).encode())


async def source(reader, writer):
    """8002: as many bytes as the client's first line says, then the end."""
    left = int(await reader.readline())
    while left > 0:
        writer.write(PIECE[:left])
        left -= len(PIECE)
        await writer.drain()


async def resetting(reader, writer):
    """8003: a reset after the client's first byte."""
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def stopped(reader, writer):
    """8004: nothing is read; after four seconds a reset."""
    writer.transport.pause_reading()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await asyncio.sleep(4)


async def ended(reader, writer):
    """8005: how the client's stream ends is noted, for 8007 to tell."""
    count, end = 0, "end"
    try:
        while data := await reader.read(65536):
            count += len(data)
    except ConnectionResetError:
        end = "reset"
    ENDS.append({"count": count, "end": end})


async def named(reader, writer):
    """8006: who is seen from here, in one line, then every byte as it came."""
    writer.write(line(writer))
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def ends(reader, writer):
    """8007: how the connections of port 8005 ended."""
    writer.write(json.dumps(ENDS).encode())


async def half(reader, writer):
    """8008: this side's end first; what comes after it is counted in the log of 8005's ends."""
    writer.write(b"over\n")
    writer.write_eof()
    await ended(reader, writer)


async def web(reader, writer):
    """8009: HTTP, one request a connection."""
    await reader.readuntil(b"\r\n\r\n")
    body = line(writer)
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


async def first(reader, writer):
    """8010: this side speaks first."""
    writer.write(b"220 ready\r\n")
    answer = await reader.readline()
    writer.write(b"250 " + answer)


class Datagrams(asyncio.DatagramProtocol):
    """9000/UDP: each datagram back, after the sender's address."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(f"{NAME} {address[0]} {address[1]} ".encode() + data, address)


def closing(handler):
    async def handle(reader, writer):
        try:
            await handler(reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()
    return handle


async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
    handlers = {8001: digest, 8002: source, 8003: resetting, 8004: stopped, 8005: ended, 8006: named, 8007: ends,
                8008: half, 8009: web, 8010: first}
    for port, handler in handlers.items():
        for host in ("0.0.0.0", "::"):
            await asyncio.start_server(closing(handler), host, port, backlog=4096, limit=1 << 18)
    loop = asyncio.get_running_loop()
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        if family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        udp.bind((host, 9000))
        await loop.create_datagram_endpoint(Datagrams, sock=udp)
    await asyncio.sleep(10**9)


asyncio.run(main())
