"""The client of the examples: many requests over kept connections, and what came back, counted, as JSON.
`changes` is how often the answers to one client changed, where they did so most.

Usage: load.py URL [--requests N | --seconds S] [--clients N] [--header 'name: value']… [--timeout S] [--rest S]
"""
import argparse, asyncio, collections, json, time
from urllib.parse import urlsplit


class Load:
    def __init__(self, options):
        self.options = options
        url = urlsplit(options.url)
        self.address = (url.hostname, url.port or 80)
        fields = "".join(field + "\r\n" for field in options.header)
        path = (url.path or "/") + ("?" + url.query if url.query else "")
        self.request = f"GET {path} HTTP/1.1\r\nhost: {url.netloc}\r\n{fields}\r\n".encode()
        self.left = options.requests
        self.end = time.monotonic() + options.seconds if options.seconds else None
        self.statuses, self.answers = collections.Counter(), collections.Counter()
        self.failures, self.reasons = collections.Counter(), collections.Counter()
        self.connections, self.good, self.changes = 0, [], 0

    def more(self):
        if self.end is not None:
            return time.monotonic() < self.end
        self.left -= 1
        return self.left >= 0

    async def exchange(self, reader, writer):
        writer.write(self.request)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        return int(lines[0].split()[1]), fields, body.decode("latin-1").strip()

    def count(self, status, fields, body, latency):
        self.statuses[status] += 1
        if "weft-reason" in fields:
            self.reasons[fields["weft-reason"]] += 1
        if status == 200:
            self.answers[body] += 1
            self.good.append(latency)

    async def client(self):
        writer, before, changes = None, None, 0
        while self.more():
            began = time.monotonic()
            try:
                async with asyncio.timeout(self.options.timeout):
                    if writer is None:
                        reader, writer = await asyncio.open_connection(*self.address)
                        self.connections += 1
                    status, fields, body = await self.exchange(reader, writer)
                self.count(status, fields, body, time.monotonic() - began)
                changes += before not in (None, body)
                before = body
                if fields.get("connection") == "close":
                    writer.close()
                    writer = None
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self.failures[type(error).__name__] += 1
                if writer is not None:
                    writer.close()
                writer = None
            if self.options.rest:
                await asyncio.sleep(self.options.rest)
        self.changes = max(self.changes, changes)
        if writer is not None:
            writer.close()

    async def run(self):
        began = time.monotonic()
        await asyncio.gather(*(self.client() for _ in range(self.options.clients)))
        good = sorted(self.good)
        milliseconds = {f"p{part}": round(good[len(good) * part // 100] * 1000, 1) for part in (50, 90, 99) if good}
        return {
            "requests": sum(self.statuses.values()) + sum(self.failures.values()), "statuses": self.statuses,
            "answers": self.answers, "failures": self.failures, "reasons": self.reasons,
            "connections": self.connections, "changes": self.changes, "seconds": round(time.monotonic() - began, 2),
            "latency_of_200_ms": milliseconds}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--timeout", type=float, default=5)
    parser.add_argument("--rest", type=float, default=0, help="seconds between a client's requests")
    result = asyncio.run(Load(parser.parse_args()).run())
    # A line for each of them, for people.
    print("{" + ",\n ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in result.items()) + "}")


if __name__ == "__main__":
    main()
