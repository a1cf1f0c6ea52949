"""An HTTP/2 server by hand on 9112, which breaks the protocol in the way that the path names: /SHAPE."""
import asyncio, re
from http2 import CONTINUATION, DATA, GOAWAY, HEADERS, PING, PREFACE, RST, SETTINGS, WINDOW, frame, literal

OK = b"\x88"
goneAway = set()


def head(stream, *fields, end=False, status=OK):
    return frame(HEADERS, 5 if end else 4, stream, status + b"".join(literal(*each) for each in fields))


def whole(stream):
    return head(stream, ("content-length", "4")) + frame(DATA, 1, stream, b"good")


SHAPES = {
    "good": whole,
    "refused": lambda s: frame(RST, 0, s, b"\0\0\0\x07"),
    "reset": lambda s: frame(RST, 0, s, b"\0\0\0\x02"),
    "shorter": lambda s: head(s, ("content-length", "10")) + frame(DATA, 1, s, b"short"),
    "longer": lambda s: head(s, ("content-length", "2")) + frame(DATA, 1, s, b"longer"),
    "data first": lambda s: frame(DATA, 1, s, b"data"),
    "garbage": lambda s: b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood" * 20,
    "pings": lambda s: frame(PING, payload=b"12345678") * 30_000,
    "settings": lambda s: frame(SETTINGS) * 30_000,
    "continuations": lambda s: frame(HEADERS, 1, s, OK) + frame(CONTINUATION, 0, s, literal("a", "b")) * 30_000,
    "bomb": lambda s: frame(HEADERS, 5, s, OK + b"\x40\x01x\x7f" + bytes([3900 - 127 & 127 | 128, 3900 - 127 >> 7])
                            + b"z" * 3900 + b"\xbe" * 10_000),
    "overflow": lambda s: frame(WINDOW, payload=b"\x7f\xff\xff\xff"),
    "pushed": lambda s: frame(5, 4, s, b"\0\0\0\2" + OK),
    "status of letters": lambda s: head(s, (":status", "abc"), status=b"", end=True),
    "no status": lambda s: head(s, ("a", "b"), status=b"", end=True),
    "line ends": lambda s: head(s, ("a", "b\r\nSet-Cookie: c=d"), end=True),
    "upper case": lambda s: head(s, ("A", "b"), end=True),
    "connection": lambda s: head(s, ("connection", "close"), end=True),
    "two lengths": lambda s: head(s, ("content-length", "4"), ("content-length", "5")) + frame(DATA, 1, s, b"good"),
    "101": lambda s: head(s, (":status", "101"), status=b""),
    # These end the connection behind what they send.
    "cut": lambda s: head(s, ("content-length", "10")) + frame(DATA, 0, s, b"short"),
    "gone": lambda s: b"",
}


async def serve(reader, writer):
    try:
        await reader.readexactly(len(PREFACE))
        writer.write(frame(SETTINGS))
        while True:
            header = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(header[:3], "big"))
            kind, flags, stream = header[3], header[4], int.from_bytes(header[5:], "big")
            if kind == SETTINGS and not flags & 1:
                writer.write(frame(SETTINGS, 1))
            if kind != HEADERS:
                continue
            shape = re.search(rb"/([a-z0-9%]+)", payload).group(1).decode().replace("%20", " ")
            if shape.startswith("away"):
                # Each path once: it was not seen, and comes again on another connection.
                if shape not in goneAway:
                    goneAway.add(shape)
                    writer.write(frame(GOAWAY, payload=bytes(8)))
                    await writer.drain()
                    break
                shape = "good"
            writer.write(SHAPES[shape](stream))
            await writer.drain()
            if shape in ("cut", "gone"):
                break
    except (ConnectionError, asyncio.IncompleteReadError, KeyError):
        pass
    writer.close()


async def main():
    async with await asyncio.start_server(serve, None, 9112, backlog=100) as server:
        await server.serve_forever()

if __name__ == "__main__":
    asyncio.run(main())
