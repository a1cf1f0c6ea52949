"""An HTTP/1.1 server by hand: backend.py NAME. What it does is said by the path; what came is kept, byte for byte.

9101 HTTP; 9100 answers each connection with a JSON document of what was seen, and forgets it where `forget` is asked.
9102 greets as SMTP does; 9103 as MySQL does, in one packet; 9111 tells its name and echoes.
"""
import asyncio, hashlib, json, sys
from urllib.parse import parse_qs, urlsplit

NAME = sys.argv[1]
PIECE = bytes(range(256)) * 256
seen = {"connections": 0, "open": 0, "requests": 0, "raw": b"", "ends": []}


class Connection:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def line(self):
        line = await self.reader.readuntil(b"\n")
        seen["raw"] = (seen["raw"] + line)[-(1 << 20):]
        return line

    async def fields(self):
        found = []
        while (line := await self.line()) != b"\r\n":
            name, _, value = line.decode("latin-1").rstrip("\r\n").partition(":")
            found.append([name, value.strip()])
        return found

    async def body(self, fields, pause=0.0):
        """(bytes, digest, trailers) of a request's body."""
        header = {name.lower(): value for name, value in fields}
        count, digest, trailers = 0, hashlib.sha256(), []

        async def take(length):
            nonlocal count
            while length > 0:
                piece = await self.reader.read(min(length, 1 << 16))
                if not piece:
                    raise ConnectionResetError
                seen["raw"] = (seen["raw"] + piece)[-(1 << 20):]
                count += len(piece)
                length -= len(piece)
                digest.update(piece)

        await asyncio.sleep(pause)
        if "chunked" in header.get("transfer-encoding", ""):
            while size := int((await self.line()).split(b";")[0], 16):
                await take(size)
                await self.line()
            trailers = await self.fields()
        else:
            await take(int(header.get("content-length", 0)))
        return count, digest.hexdigest(), trailers

    def send(self, status, headers, body=b""):
        head = f"HTTP/1.1 {status}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n"
        self.writer.write(head.encode("latin-1") + body)

    def send_text(self, text, status="200 Fine", headers=()):
        body = text.encode()
        self.send(status, [("Server-Name", NAME), *headers, ("Content-Length", len(body))], body)

    async def note_end(self, what):
        """Waits for the peer's end and keeps it."""
        try:
            while await self.reader.read(1 << 16):
                pass
            seen["ends"].append(what + ": end")
        except ConnectionError:
            seen["ends"].append(what + ": reset")

    async def answer(self):
        """One request; False: the connection is over."""
        while (line := await self.line()) == b"\r\n":
            pass
        seen["requests"] += 1
        fields = await self.fields()
        method, target, _ = line.decode("latin-1").split(" ", 2)
        url = urlsplit(target) if target.startswith("/") else urlsplit("/other")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        header = {name.lower(): value for name, value in fields}
        if method == "CONNECT":
            self.writer.write(b"HTTP/1.1 200 Go\r\n\r\n")
            return await self.echo()
        if url.path == "/hold":
            await self.note_end("hold")
            return False
        if url.path == "/early":
            # Answers without having read the body, and reads on for a while, so that no reset overtakes the answer.
            self.send_text("early", "403 No", [("Connection", "close")])
            await self.writer.drain()
            try:
                await asyncio.wait_for(self.note_end("early"), 10)
            except TimeoutError:
                pass
            return False
        if header.get("expect") == "100-continue":
            if url.path == "/refuse":
                self.send_text("refused", "417 No")
                return False
            await asyncio.sleep(0.1)
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        count, digest, trailers = await self.body(fields, float(query.get("pause", 0)))
        return await self.respond(method, line, url.path, query, fields, {
            "name": NAME, "line": line.decode("latin-1").rstrip("\r\n"), "fields": fields, "count": count,
            "digest": digest, "trailers": trailers})

    async def respond(self, method, line, path, query, fields, facts):
        head_only = method == "HEAD"
        if path == "/chunked":
            self.send("200 OK", [("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum, X-Other")])
            self.writer.write(b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 11\r\nX-Other: Yes\r\n\r\n")
        elif path == "/204":
            self.send("204 Nothing", [("X-Kept", "1")])
        elif path == "/304":
            self.send("304 Same", [("ETag", '"a"'), ("Content-Length", "77")])
        elif path == "/hints":
            self.send("103 Early Hints", [("Link", "</a>; rel=preload")])
            await self.writer.drain()
            await asyncio.sleep(0.02)
            self.send_text("hinted")
        elif path == "/head":
            self.send("200 OK", [("Content-Length", "12345"), ("X-Of", "head")], b"" if head_only else b"x" * 12345)
        elif path == "/old":
            self.writer.write(b"HTTP/1.0 200 OK\r\nX-Old: 1\r\n\r\nuntil the end")
            await self.writer.drain()
            return False
        elif path == "/die":
            framing = [("Transfer-Encoding", "chunked")] if "chunked" in query else [("Content-Length", "1000")]
            self.send("200 OK", framing, b"5\r\nhello\r\n" if "chunked" in query else b"x" * 500)
            await self.writer.drain()
            await asyncio.sleep(0.05)
            if "reset" in query:
                self.writer.transport.abort()
            return False
        elif path == "/big":
            left = int(query["count"])
            self.send("200 OK", [("Content-Length", left)])
            try:
                while left > 0:
                    self.writer.write(PIECE[:left])
                    left -= len(PIECE[:left])
                    await self.writer.drain()
            except ConnectionError:
                seen["ends"].append("big: broken")
                return False
        elif path == "/drip":
            self.send("200 OK", [("Transfer-Encoding", "chunked"), ("X-Name", NAME)])
            try:
                while True:
                    self.writer.write(b"4\r\ndrip\r\n")
                    await self.writer.drain()
                    if self.reader.at_eof():
                        break
                    await asyncio.sleep(0.02)
            except ConnectionError:
                pass
            seen["ends"].append("drip: let go")
            return False
        elif path == "/close-after":
            # Says nothing of it: its next request may be on the way already.
            self.send_text("bye")
            await self.writer.drain()
            await asyncio.sleep(float(query["after"]))
            return False
        elif path == "/upgrade":
            self.send("101 Switching", [("Connection", "Upgrade"), ("Upgrade", "echo")])
            return await self.echo()
        elif path == "/bad":
            self.writer.write(BAD[int(query["shape"])])
            await self.writer.drain()
            await asyncio.sleep(0.3)
            return False
        else:
            body = b"" if head_only else json.dumps(facts).encode()
            self.send("200 Fine", [("X-Zebra", "1"), ("x-aLpHa", "2"), ("X-Zebra", "3"), ("X-Name", NAME),
                                   ("Content-Length", len(json.dumps(facts)))], body)
        await self.writer.drain()
        closes = any(n.lower() == "connection" and "close" in v.lower() for n, v in fields)
        return not closes

    async def echo(self):
        while piece := await self.reader.read(1 << 16):
            self.writer.write(piece)
            await self.writer.drain()
        # The half that is left: says that it heard of the end.
        self.writer.write(b"<end>")
        await self.writer.drain()
        return False


BAD = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 1\n\na",
    b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 1\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX: a\r\n b\r\n\r\na",
    b"HTTP/1.1 2x0 OK\r\nContent-Length: 1\r\n\r\na",
    b"ICY 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nX-N: a\x00b\r\nContent-Length: 1\r\n\r\na",
    b"HTTP/1.1 101 Sure\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
]


async def http(reader, writer):
    seen["connections"] += 1
    seen["open"] += 1
    try:
        while await Connection(reader, writer).answer():
            pass
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, KeyError):
        pass
    finally:
        seen["open"] -= 1
        writer.close()


async def report(reader, writer):
    asked = await reader.readline()
    writer.write(json.dumps({**seen, "raw": seen["raw"].decode("latin-1"), "name": NAME}).encode())
    if asked == b"forget\n":
        seen.update(raw=b"", ends=[], connections=0, requests=0)
    writer.close()


async def lines(reader, writer, greeting):
    """A protocol in which the server speaks first; it hears the client's end and still says goodbye."""
    try:
        writer.write(greeting)
        while line := await reader.readline():
            writer.write(b"250 " + line)
        writer.write(b"221 bye\r\n")
        await writer.drain()
    except ConnectionError:
        pass
    writer.close()


MYSQL = b"\x4a\x00\x00\x00\x0a8.0.36\x00" + b"\x01" * 66


async def main():
    async def smtp(r, w): await lines(r, w, b"220 " + NAME.encode() + b" ESMTP\r\n")
    async def mysql(r, w): await lines(r, w, MYSQL)
    async def named(r, w): await lines(r, w, NAME.encode() + b"\r\n")
    served = [(http, 9101), (report, 9100), (smtp, 9102), (mysql, 9103), (named, 9111)]
    servers = [await asyncio.start_server(what, None, port, backlog=1000, limit=1 << 18) for what, port in served]
    await asyncio.gather(*(server.serve_forever() for server in servers))


asyncio.run(main())
