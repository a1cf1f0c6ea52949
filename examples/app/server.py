"""The server of the examples: says its name, and behaves as it is told.

Usage: server.py NAME [PORT] [key=value…]. It answers every request with its name. Keys, at its start or later by
`curl -s localhost:8080/-/set?key=value`:

  status=503    what it answers with
  share=0.05    the part of the requests that get this status, spread evenly; the others get 200
  work=0.02     seconds of work for each request
  at_once=4     so many requests are worked on at the same time, the others wait

`/-/counts` tells what it has seen; `/-/reset` too, and begins again at zero.
"""
import asyncio, json, sys
from urllib.parse import parse_qsl, urlsplit


class Server:
    def __init__(self, name, settings):
        self.name = name
        self.settings = {"status": 200, "share": 1.0, "work": 0.0, "at_once": 1000}
        self.configure(settings)
        self.now = 0
        self.reset()

    def configure(self, pairs):
        for key, value in pairs:
            self.settings[key] = type(self.settings[key])(value)
        self.turns = asyncio.Semaphore(self.settings["at_once"])

    def reset(self):
        self.requests, self.statuses, self.most, self.owed = 0, {}, 0, 0.0

    def counts(self):
        return {"name": self.name, "requests": self.requests, "statuses": self.statuses, "most_at_once": self.most}

    async def answer(self):
        self.requests += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            async with self.turns:
                if self.settings["work"]:
                    await asyncio.sleep(self.settings["work"])
        finally:
            self.now -= 1
        self.owed += self.settings["share"]
        status = 200
        if self.owed >= 1:
            self.owed -= 1
            status = self.settings["status"]
        self.statuses[status] = self.statuses.get(status, 0) + 1
        return status, self.name + "\n"

    async def command(self, target):
        url = urlsplit(target)
        counts = json.dumps(self.counts()) + "\n"
        if url.path == "/-/set":
            self.configure(parse_qsl(url.query))
        elif url.path == "/-/reset":
            self.reset()
        return 200, counts

    async def serve(self, reader, writer):
        try:
            while line := await reader.readline():
                method, target, _ = line.decode("latin-1").split(" ", 2)
                length, close = 0, False
                while (field := await reader.readline()) not in (b"\r\n", b""):
                    key, _, value = field.decode("latin-1").partition(":")
                    if key.lower() == "content-length":
                        length = int(value)
                    elif key.lower() == "connection":
                        close = "close" in value.lower()
                await reader.readexactly(length)
                status, body = await (self.command(target) if target.startswith("/-/") else self.answer())
                head = f"HTTP/1.1 {status} Told\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\n"
                writer.write((head + ("connection: close\r\n" if close else "") + "\r\n" + body).encode())
                await writer.drain()
                if close:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # The client is gone, or doesn't speak HTTP/1.1.
        finally:
            writer.close()


async def main():
    name, *rest = sys.argv[1:]
    port = int(rest.pop(0)) if rest and "=" not in rest[0] else 8080
    server = Server(name, [word.split("=", 1) for word in rest])
    listener = await asyncio.start_server(server.serve, None, port, backlog=4096)
    async with listener:
        await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
