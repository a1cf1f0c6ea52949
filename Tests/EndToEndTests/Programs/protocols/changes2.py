"""As changes.py, by HTTP/2, gRPC and TCP: changes2.py HOST LAST. Each generation of the routes stamps its number on HTTP/2
responses, by the rule and by its backend, and on gRPC requests and responses, and has its own backend. All connections
are as old as the program; all ends once the last generation has been seen by each of them."""
import packages  # noqa: F401, first: it says where grpc is.
import collections, json, os, queue, sys, threading, time
import socket
import grpc
from http2 import DATA, GOAWAY, HEADERS, RST, WINDOW, Peer, frame

host, last = sys.argv[1], int(sys.argv[2])
PLACES = ("near", "far")
facts = collections.Counter(failed=0, closed=0, mixed=0, backwards=0)
examples, reached, lock = [], {}, threading.Lock()
deadline = time.monotonic() + 60


def noted(problem, example):
    with lock:
        facts[problem] += 1
        examples.append([problem, repr(example)[:300]])


class Table:
    """Reads heads of HPACK (RFC 7541) without Huffman codes, as the proxy writes them. Of the static table only numbers."""

    def __init__(self):
        self.entries = []

    def read(self, data):
        self.data, self.at, found = data, 0, []
        while self.at < len(data):
            first = data[self.at]
            if first & 0x80:
                found.append(self.entry(self.integer(7)))
            elif first & 0xe0 == 0x20:
                size = self.integer(5)
                assert size >= 4096 or not self.entries, "a smaller table"
            else:
                index = self.integer(6 if first & 0x40 else 4)
                name = self.entry(index)[0] if index else self.text()
                found.append((name, self.text()))
                if first & 0x40:
                    self.entries.insert(0, found[-1])
        return found

    def entry(self, index):
        return self.entries[index - 62] if index > 61 else (f"static {index}", f"static {index}")

    def integer(self, bits):
        value, self.at = self.data[self.at] & (1 << bits) - 1, self.at + 1
        if value == (1 << bits) - 1:
            shift, more = 0, True
            while more:
                byte, self.at = self.data[self.at], self.at + 1
                value, shift, more = value + ((byte & 127) << shift), shift + 7, byte & 128
        return value

    def text(self):
        assert not self.data[self.at] & 0x80, "a Huffman code"
        length = self.integer(7)
        self.at += length
        return self.data[self.at - length:self.at].decode()


def judged(what, newest, stamps, place):
    """The generation that all stamps say, or where they don't the one before."""
    generations = set(stamps)
    if len(generations) != 1 or place != PLACES[generations.copy().pop() % 2]:
        noted("mixed", (what, stamps, place))
        return newest
    generation = generations.pop()
    if generation < newest:
        noted("backwards", (what, newest, stamps))
    with lock:
        facts[what] += 1
    return generation


def http2():
    """One connection: requests one after the other, and beside them a response so large that it takes all the time."""
    with Peer(host) as peer:
        table, newest = Table(), 0
        large = peer.request(path="/large")
        taken = 0

        def event():
            """The next frame but for those of the large stream, of which a piece is taken for each of the others."""
            nonlocal taken
            while True:
                got = peer.frame()
                assert got and got[0] != GOAWAY and got[0] != RST, got
                kind, flags, of, payload = got
                assert kind != HEADERS or flags & 4, "a head in pieces"
                if kind == HEADERS and of == large:
                    table.read(payload)
                elif kind == DATA and of == large:
                    assert not flags & 1, "all of it is here already"
                    taken += len(payload)
                    peer.send(frame(WINDOW, 0, 0, len(payload).to_bytes(4, "big")))
                elif kind in (HEADERS, DATA):
                    if kind == DATA and payload:
                        peer.send(frame(WINDOW, 0, 0, len(payload).to_bytes(4, "big")))
                    return got
        try:
            while newest < last and time.monotonic() < deadline:
                stream = peer.request(path="/1k")
                fields, count = [], 0
                while True:
                    kind, flags, of, payload = event()
                    assert of == stream, (of, stream)
                    fields += table.read(payload) if kind == HEADERS else []
                    count += len(payload) if kind == DATA else 0
                    if flags & 1:
                        break
                head = collections.defaultdict(list)
                for name, value in fields:
                    head[name].append(value)
                stamps = [int(value) for value in head["x-generation"] + head["x-by-backend"]]
                if ("static 8", "static 8") not in fields or len(stamps) != 2 or not count:
                    noted("failed", (fields, count))
                    return
                newest = judged("http2", newest, stamps, head["x-place"][0])
                # A little of what is under way is taken, so that it moves through every change.
                peer.send(frame(WINDOW, 0, large, (1024).to_bytes(4, "big")))
                time.sleep(0.002)
            # The rest of it comes after the last change.
            peer.send(frame(WINDOW, 0, large, (1 << 30).to_bytes(4, "big")))
            ended = False
            while not ended:
                got = peer.frame()
                assert got and got[0] != GOAWAY and got[0] != RST, got
                kind, flags, of, payload = got
                ended = of == large and flags & 1
                if kind == DATA:
                    taken += len(payload)
                    if payload:
                        peer.send(frame(WINDOW, 0, 0, len(payload).to_bytes(4, "big")))
            with lock:
                facts["large"] += taken
        except Exception as error:
            noted("closed", ("http2", error))
        reached["http2"] = newest


def turns(channel):
    """A stream of both directions with its first head."""
    words = queue.Queue()
    call = channel.stream_stream("/test.Kinds/Both")(iter(words.get, None), timeout=70)
    head = collections.defaultdict(list)
    for name, value in call.initial_metadata():
        head[name].append(value)
    return words, call, head


def grpc_calls(channel):
    newest = 0
    while newest < last and time.monotonic() < deadline:
        try:
            words, call, head = turns(channel)
            words.put(b"a")
            assert next(call) == b"echo a"
            words.put(None)
            assert not list(call) and call.code() == grpc.StatusCode.OK
            stamps = [int(value) for value in head["x-generation"] + head["x-asked"][0].split(",")]
            newest = judged("grpc", newest, stamps, head["x-name"][0])
        except Exception as error:
            noted("failed", ("grpc", error))
            return
        time.sleep(0.002)
    reached["grpc"] = newest


def others():
    return [thread for thread in first if thread.is_alive()]


def grpc_stream(channel):
    try:
        words, call, head = turns(channel)
        while others():
            words.put(b"on")
            assert next(call) == b"echo on"
            facts["grpc turns"] += 1
            time.sleep(0.01)
        words.put(None)
        assert not list(call) and call.code() == grpc.StatusCode.OK
        facts["grpc held"] += 1
    except Exception as error:
        noted("closed", ("grpc stream", error))


def connection():
    try:
        with socket.create_connection((host, 90), 8) as s:
            f = s.makefile("rw", newline="")
            assert f.readline().strip() in PLACES
            while others():
                f.write("on\r\n")
                f.flush()
                assert f.readline() == "250 on\r\n"
                facts["tcp turns"] += 1
                time.sleep(0.01)
            s.shutdown(socket.SHUT_WR)
            assert f.read() == "221 bye\r\n"
            facts["tcp held"] += 1
    except Exception as error:
        noted("closed", ("tcp", error))


def connections():
    """New ones, of which no route tells its number."""
    while others():
        try:
            with socket.create_connection((host, 90), 8) as s:
                assert s.makefile().readline().strip() in PLACES
                facts["connections"] += 1
        except Exception as error:
            noted("failed", ("tcp", error))
        time.sleep(0.01)


shared = grpc.insecure_channel(f"{host}:87")
first = [threading.Thread(target=http2) for _ in range(2)]
first += [threading.Thread(target=grpc_calls, args=[shared]) for _ in range(2)]
second = [threading.Thread(target=grpc_stream, args=[shared]) for _ in range(2)]
second += [threading.Thread(target=connection) for _ in range(2)] + [threading.Thread(target=connections)]
for thread in first + second:
    thread.start()
for thread in first + second:
    thread.join()
print(json.dumps(dict(facts) | {"reached": reached, "examples": examples[:3]}))
os._exit(0)
