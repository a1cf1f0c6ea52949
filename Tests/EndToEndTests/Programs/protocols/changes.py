"""Requests without pause while a Service's route changes: changes.py HOST LAST. Each generation of the route stamps its
number on request and response, and has its own backend; all ends once every connection has seen the last one. An answer
that began before the changes goes on meanwhile."""
import json, sys, threading, time
from wire import Wire

host, last = sys.argv[1], int(sys.argv[2])
facts = {"requests": 0, "failed": 0, "closed": 0, "mixed": 0, "backwards": 0, "examples": []}
seen, lock = set(), threading.Lock()
deadline = time.monotonic() + 60


def client():
    newest = 0
    with Wire(host) as w:
        while newest < last and time.monotonic() < deadline:
            problem = None
            try:
                w.ask("GET", "/echo")
                answer = w.response()
            except Exception as error:
                with lock:
                    facts["failed"] += 1
                    facts["examples"].append(repr(error))
                return
            stamps = [int(value) for name, value in answer["fields"] if name == "x-generation"]
            if answer["status"] != 200:
                problem = "failed"
            elif answer["closes"]:
                problem = "closed"
            else:
                there = json.loads(answer["body"])
                asked = [int(value) for name, value in there["fields"] if name == "x-generation"]
                if len(stamps) != 1 or asked != stamps or there["name"] != ("near", "far")[stamps[0] % 2]:
                    problem = "mixed"
                elif stamps[0] < newest:
                    problem = "backwards"
                else:
                    newest = stamps[0]
            with lock:
                facts["requests"] += 1
                seen.update(stamps)
                if problem:
                    facts[problem] += 1
                    facts["examples"].append([problem, answer])
        facts["reached"] = min(facts.get("reached", newest), newest)


def stream():
    """Bytes of one answer, from before the changes to behind them."""
    with Wire(host) as w:
        w.ask("GET", "/drip")
        w.head()
        facts["streamed"] = 0
        try:
            while any(thread.is_alive() for thread in threads):
                assert (w.line(), w.exactly(6)) == ("4", b"drip\r\n")
                facts["streamed"] += 1
            facts["stream held"] = True
        except Exception as error:
            facts["stream held"] = repr(error)


threads = [threading.Thread(target=client) for _ in range(6)]
for thread in threads:
    thread.start()
stream()
for thread in threads:
    thread.join()
facts["examples"] = facts["examples"][:3]
print(json.dumps(facts | {"generations": len(seen)}))
