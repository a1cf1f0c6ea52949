"""Streams and requests on a Service while one of its endpoints leaves: leaving.py HOST LEAVING PHASE. The file PHASE has
the word `full`, then `draining`, `over` and at last `end`. Streams that were open at first go on until `over`; new ones
and requests are made without pause until `end`. What began in which phase is counted by the server that answered."""
import packages  # noqa: F401, first: it says where grpc is.
import collections, json, os, queue, socket, sys, threading, time
import grpc
from wire import Wire, until

host, leaving, file = sys.argv[1:]
counts = collections.defaultdict(collections.Counter)
held = collections.defaultdict(list)
failures, lock = [], threading.Lock()
deadline = time.monotonic() + 90


def phase():
    if time.monotonic() > deadline:
        return "end"
    with open(file) as f:
        return f.read().strip()


def failed(what, error):
    with lock:
        failures.append(f"{what} in {phase()}: {error!r}"[:300])


def count(what, began, name):
    with lock:
        counts[f"{what} {began}"][name] += 1


class Lines:
    """A plain TCP connection."""

    def __init__(self):
        self.socket = socket.create_connection((host, 90), 8)
        self.file = self.socket.makefile("rw", newline="")
        self.name = self.file.readline().strip()

    def turn(self):
        self.file.write("hello\r\n")
        self.file.flush()
        assert (answer := self.file.readline()) == "250 hello\r\n", answer

    def end(self):
        self.socket.shutdown(socket.SHUT_WR)
        assert (rest := self.file.read()) == "221 bye\r\n", rest
        self.socket.close()


class Call:
    """A stream of HTTP/2: of one connection, which all of them share."""
    channel = grpc.insecure_channel(f"{host}:87")

    def __init__(self):
        self.words = queue.Queue()
        self.call = self.channel.stream_stream("/test.Kinds/Both")(iter(self.words.get, None), timeout=80)
        self.name = dict(self.call.initial_metadata())["x-name"]

    def turn(self):
        self.words.put(b"hello")
        assert (answer := next(self.call)) == b"echo hello", answer

    def end(self):
        self.words.put(None)
        assert not list(self.call) and self.call.code() == grpc.StatusCode.OK, self.call.code()


class Drip:
    """A response of HTTP/1.1 that goes on and on."""

    def __init__(self):
        self.wire = Wire(host)
        self.wire.ask("GET", "/drip")
        self.name = dict(self.wire.head()[1])["X-Name"]

    def turn(self):
        assert (self.wire.line(), self.wire.exactly(6)) == ("4", b"drip\r\n")

    def end(self):
        self.wire.socket.close()


def hold(kind, what):
    """Streams of this kind until some of them are at the endpoint that leaves, and one isn't; then their turns."""
    try:
        streams = []
        while not (sum(s.name == leaving for s in streams) >= 3 and any(s.name != leaving for s in streams)):
            assert len(streams) < 100, "no stream reached it"
            streams.append(kind())
        ready.release()
        turns = 0
        while phase() in ("full", "draining"):
            for stream in streams:
                stream.turn()
            turns += 1
            time.sleep(0.01)
        for stream in streams:
            stream.turn()
            stream.end()
            held[what].append(stream.name)
        assert turns > 1
    except Exception as error:
        failed(f"held {what}", error)
        ready.release()


def again(kind, what):
    """Short streams, one after the other."""
    while (began := phase()) != "end":
        try:
            stream = kind()
            stream.turn()
            stream.end()
            count(what, began, stream.name)
        except Exception as error:
            failed(what, error)
        time.sleep(0.01)


def requests():
    """Requests over a kept connection."""
    with Wire(host) as wire:
        while (began := phase()) != "end":
            try:
                wire.ask("GET", "/echo")
                answer = wire.response()
                assert answer["status"] == 200 and not answer["closes"], answer
                count("requests", began, json.loads(answer["body"])["name"])
            except Exception as error:
                return failed("requests", error)
            time.sleep(0.003)


ready = threading.Semaphore(0)
KINDS = [(Lines, "connections"), (Call, "calls"), (Drip, "responses")]
threads = [threading.Thread(target=hold, args=each) for each in KINDS]
threads += [threading.Thread(target=again, args=each) for each in KINDS[:2]]
threads += [threading.Thread(target=requests) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in KINDS:
    ready.acquire()
# All that is to be held is; and each kind of what is new has met the endpoint, too.
until(lambda: all(counts[f"{what} full"][leaving] >= 5 for what in ("requests", "connections", "calls")), 20)
open(file + ".ready", "w").close()
for thread in threads:
    thread.join()
print(json.dumps({"failures": failures, "held": held, "counts": counts}))
os._exit(0)
