"""What becomes of an HTTP/2 server's broken answers: answers2.py HOST. Each is asked for by HTTP/1.1 and by HTTP/2, beside
a request that is answered well."""
import json, sys
from backend2 import SHAPES
from http2 import Peer
from wire import Broken, Wire

PORT = 91
host = sys.argv[1]


def by1(path):
    with Wire(host, PORT) as w:
        w.ask("GET", path)
        try:
            answer = w.response()
        except (Broken, ConnectionError):
            return "broken"
        except TimeoutError:
            return "timeout"
        extra = [f for f in answer["fields"] if f[0].lower() in ("set-cookie", "a")]
        return [answer["status"], *extra] if answer["status"] != 200 else [200, answer["body"], *extra]


def by2(path):
    with Peer(host, PORT) as p:
        try:
            answer = p.answer(p.request(path=path))
        except TimeoutError:
            return "timeout"
        return [answer.get("first"), answer["end"]]


facts = {}
for shape in [*SHAPES, "away"]:
    path = "/" + shape.replace(" ", "%20")
    facts[shape] = {"1": by1(path + ("1" if shape == "away" else "")), "2": by2(path + ("2" if shape == "away" else "")),
                    "next": by1("/good")}
print(json.dumps(facts))
