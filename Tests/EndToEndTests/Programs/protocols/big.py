"""Large bodies and slow peers: big.py HOST POD-ADDRESS PIDS NAME…. How much the proxies with those pids grow meanwhile, in
KiB, and whether all arrived."""
import hashlib, json, socket, sys, threading, time
from http2 import DATA, Peer, frame
from wire import Wire, guarded

PIECE = bytes(range(256)) * 256
COUNT = 64 << 20
LARGE = 128 << 20


def resident(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as status:
            total += next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return total


def digest(count):
    seen = hashlib.sha256()
    while count > 0:
        seen.update(PIECE[:count])
        count -= len(PIECE)
    return seen.hexdigest()


def down(host, pids):
    """A client that begins to read when the server could have sent all of it."""
    before = resident(pids)
    with Wire(host, timeout=30) as w:
        w.ask("GET", f"/big?count={COUNT}")
        w.head()
        time.sleep(0.8)
        grown = resident(pids) - before
        seen, left = hashlib.sha256(w.data), COUNT - len(w.data)
        while left > 0:
            piece = w.socket.recv(min(left, 1 << 20))
            if not piece:
                break
            seen.update(piece)
            left -= len(piece)
    return {"grown": grown, "whole": seen.hexdigest() == digest(COUNT)}


def up(host, pids):
    """A server that begins to read when the client could have sent all of it, with a length and in chunks."""
    found = {"grown": 0, "whole": True}
    for framing in ["length", "chunks"]:
        before = resident(pids)
        with Wire(host, timeout=30) as w:
            if framing == "length":
                w.ask("POST", "/echo?pause=1", f"Content-Length: {COUNT}")
                data = [PIECE] * (COUNT // len(PIECE))
            else:
                w.ask("POST", "/echo?pause=1", "Transfer-Encoding: chunked")
                data = [b"%x\r\n%s\r\n" % (len(PIECE), PIECE)] * (COUNT // len(PIECE)) + [b"0\r\n\r\n"]
            sender = threading.Thread(target=lambda: [w.socket.sendall(piece) for piece in data])
            sender.start()
            time.sleep(0.8)
            found["grown"] = max(found["grown"], resident(pids) - before)
            answer = w.json()
            sender.join()
            found["whole"] = found["whole"] and answer["count"] == COUNT and answer["digest"] == digest(COUNT)
    return found


def down2(host, pids):
    """The same by HTTP/2, with windows of 2 GiB, so that only the connection itself holds the server back."""
    before = resident(pids)
    with Peer(host, window=0x7fffffff) as p:
        p.socket.settimeout(30)
        stream = p.request(path="/large")
        time.sleep(0.8)
        grown = resident(pids) - before
        answer = p.answer(stream)
    return {"grown": grown, "whole": answer["count"] == LARGE and answer["end"] == "whole"}


def stalled2(host, pids):
    """A client that gives one of its streams no window: its answer stops, another stream's doesn't, and no proxy keeps
    more of it than a window."""
    before = resident(pids)
    with Peer(host) as p:
        p.socket.settimeout(30)
        p.send(frame(8, 0, 0, (1 << 30).to_bytes(4, "big")))
        stalled = p.request(path="/large")
        back = 0
        while back < 65535:
            kind, _, of, payload = p.frame()
            back += len(payload) if kind == DATA and of == stalled else 0
        time.sleep(0.5)
        other, grown = p.answer(p.request())["end"], resident(pids) - before
        p.send(frame(8, 0, stalled, (1 << 30).to_bytes(4, "big")))
        rest = p.answer(stalled)
    return {"grown": grown, "stopped": back, "other": other, "whole": back + rest["count"] == LARGE}


host, _, pids, *names = sys.argv[1:]
print(json.dumps({name: guarded(globals()[name], host, pids.split(",")) for name in names}))
