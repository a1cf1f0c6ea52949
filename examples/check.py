#!/usr/bin/env python3
"""The deployment strategies of this folder, each shown on a lab of its own and checked by counting requests.

Usage: check.py [NAME…]; all without a name. Needs root and the programs in $BIN (`make build`). Ends with a table, and
with status 1 if a line failed.
"""
import json, math, os, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../demo"))
import lab
from lab import Failed, expect, wait_for

LOAD = ["/usr/bin/python3", f"{HERE}/app/load.py", "http://web/"]


class Example(lab.Lab):
    def __init__(self, name):
        super().__init__("ex" + name.replace("-", "")[:10])
        self.source = f"{HERE}/{name}"

    def step(self, name, sign, without="\0"):
        """Applies a file of the example and waits until the client's node shows its sign, and not what was before."""
        self._lab("apply", f"{self.source}/{name}.yaml")

        def shows():
            text = self.shown()
            return sign in text and without not in text

        wait_for(f"\"{sign}\" after {name}.yaml", shows, 5)
        # The proxy's event loops take it within the same moment.
        time.sleep(0.1)

    def shown(self):
        """What is in force at the client's node."""
        socket = f"{self.folder}/nodes/east/run/agent.sock"
        return "".join(
            lab.run([f"{lab.BIN}/weft", "--socket", socket, what], check=False).stdout
            for what in ("routes", "policies", "endpoints"))

    def load(self, *options):
        return json.loads(self.exec("client", *LOAD, *options, timeout=40).stdout)

    def start_load(self, *options):
        return self.popen("client", *LOAD, *options)

    def tell(self, pods, command):
        """What these pods' servers answer to a command, summed up."""
        answers = [
            json.loads(self.exec(pod, "curl", "-sS", "--max-time", "5", f"http://localhost:8080/-/{command}").stdout)
            for pod in pods]
        return {
            "requests": sum(answer["requests"] for answer in answers),
            "most_at_once": max(answer["most_at_once"] for answer in answers)}


def no_failure(seen):
    expect(not seen["failures"] and set(seen["statuses"]) == {"200"}, f"failed: {seen['statuses']} {seen['failures']}")
    return seen


def share(count, of, percent):
    """Whether as many of so many as that share gives, by five standard deviations: one run in a million is further off."""
    mean, part = of * percent / 100, percent / 100
    expect(abs(count - mean) <= 5 * math.sqrt(of * part * (1 - part)), f"{count} of {of} is not {percent} %")


def canary(mesh):
    shown = []
    for percent, file in ((10, "route"), (50, "steps/50"), (100, "steps/100")):
        mesh.step(file, f"shop/web-v2:80 ({percent})")
        answers = no_failure(mesh.load("--requests", "1500"))["answers"]
        share(answers.get("v2", 0), 1500, percent)
        shown.append(f"{answers.get('v2', 0)} at {percent} %")
    return f"of 1500 requests each the new version had {', '.join(shown)}"


def ab(mesh):
    for group, headers in {
        "a": [[], ["x-group: a"], ["cookie: group=bb"], ["cookie: subgroup=b"]],
        "b": [["x-group: b"], ["cookie: group=b"], ["cookie: theme=dark; group=b; lang=en"]],
    }.items():
        for fields in headers:
            options = [word for field in fields for word in ("--header", field)]
            answers = no_failure(mesh.load("--requests", "200", *options))["answers"]
            expect(answers == {group: 200}, f"with {fields or 'no header'}: {answers}")
    return "200 requests each: group b by x-group and by cookie, everyone else in group a"


def blue_green(mesh):
    load = mesh.start_load("--seconds", "3", "--clients", "16")
    time.sleep(1)
    mesh.step("steps/green", "shop/web-green:80 (1)")
    after = no_failure(mesh.load("--requests", "200"))["answers"]
    expect(after == {"green": 200}, f"after the switch: {after}")
    out, err = load.communicate(timeout=20)
    expect(load.returncode == 0, f"the load failed: {err[-200:]}")
    seen = no_failure(json.loads(out))
    expect(min(seen["answers"].get(name, 0) for name in ("blue", "green")) > 200, f"answers: {seen['answers']}")
    expect(seen["connections"] == 16, f"{seen['connections']} connections were made by 16 clients")
    expect(seen["changes"] == 1, f"a client's answers changed {seen['changes']} times")
    mesh.step("steps/blue", "shop/web-blue:80 (1)")
    back = no_failure(mesh.load("--requests", "200"))["answers"]
    expect(back == {"blue": 200}, f"after the way back: {back}")
    return (f"{seen['answers']['blue']} requests to blue and {seen['answers']['green']} to green over the same 16"
            " connections, none failed; and back")


def dark_launch(mesh):
    shown = []
    for percent, count, file, sign in ((100, 500, "route", "mirror 100 of 100"), (10, 1500, "steps/10", "mirror 10 of 100")):
        mesh.step(file, sign)
        mesh.tell(["shadow"], "reset")
        seen = no_failure(mesh.load("--requests", str(count)))
        expect(seen["answers"] == {"web": count}, f"answers: {seen['answers']}")
        expect(seen["latency_of_200_ms"]["p50"] < 50, f"the shadow's 50 ms are felt: {seen['latency_of_200_ms']}")
        # The last copies are on their way yet.
        time.sleep(0.3)
        copies = mesh.tell(["shadow"], "counts")["requests"]
        share(copies, count, percent)
        shown.append(f"{copies} copies of {count} at {percent} %")
    return f"{', '.join(shown)}; its failures and its 50 ms reach no client"


def zone_failover(mesh):
    near = ["near-1", "near-2"]

    def only(name):
        seen = no_failure(mesh.load("--requests", "300"))["answers"]
        expect(seen == {name: 300}, f"expected {name} only: {seen}")

    only("near")
    mesh.step("steps/unready", "not ready")
    only("far")
    mesh.step("steps/ready", "near-1", without="not ready")
    only("near")
    mesh.tell(near, "reset")
    mesh.tell(near, "set?status=503")
    seen = no_failure(mesh.load("--requests", "1000"))["answers"]
    failed = mesh.tell(near, "reset")["requests"]
    expect(seen == {"far": 1000}, f"while the zone's pods fail: {seen}")
    expect(failed < 150, f"{failed} tries met the failing pods")
    mesh.tell(near, "set?status=200")
    wait_for("the ejected pods to return", lambda: mesh.load("--requests", "50")["answers"] == {"near": 50}, 12)
    return f"away and back, by readiness and by errors; {failed} tries met failing pods, and no request failed"


def circuit_breaker(mesh):
    options = ("--seconds", "2", "--clients", "40", "--rest", "0.02")
    limited = mesh.load(*options)
    most = mesh.tell(["web"], "reset")["most_at_once"]
    mesh.step("steps/open", "weft-reason on", without="8 requests")
    without = no_failure(mesh.load(*options))
    crowd = mesh.tell(["web"], "counts")["most_at_once"]
    expect(crowd > 20, f"only {crowd} requests at once without a limit: this shows nothing")
    good, refused = limited["statuses"].get("200", 0), limited["statuses"].get("503", 0)
    expect(most <= 8, f"{most} requests at once with a limit of 8")
    expect(not limited["failures"] and good + refused == limited["requests"], f"answers: {limited['statuses']}")
    expect(sum(n for reason, n in limited["reasons"].items() if reason.startswith("UO")) == refused, str(limited["reasons"]))
    slow, fast = without["latency_of_200_ms"]["p50"], limited["latency_of_200_ms"]["p50"]
    expect(fast < slow / 2, f"the median is {fast} ms with, {slow} ms without a limit")
    expect(good > without["statuses"]["200"] * 0.6, f"{good} served with, {without['statuses']['200']} without a limit")
    return (f"{most} at once instead of {crowd}, median {fast:.0f} ms instead of {slow:.0f}; {good} served instead of"
            f" {without['statuses']['200']}, {refused} refused as UO")


def retry_budget(mesh):
    pods = ["web-east", "web-west"]
    mesh.tell(pods, "set?status=503")
    tries, seconds = [], 0
    for file, sign in (("policy", "20% of"), ("steps/unlimited", "100% of")):
        mesh.step(file, sign)
        mesh.tell(pods, "reset")
        seen = mesh.load("--requests", "1000")
        expect(seen["statuses"] == {"503": 1000}, f"answers: {seen['statuses']}")
        seconds = seconds or seen["seconds"]
        tries.append(mesh.tell(pods, "counts")["requests"])
    # 20 % of all tries, and five a second whatever is.
    most = 1000 / 0.8 + 5 * (seconds + 1)
    expect(1000 < tries[0] <= most, f"{tries[0]} tries with a budget, of at most {most:.0f}")
    expect(tries[1] == 4000, f"{tries[1]} tries without a budget: this shows nothing")
    mesh.step("policy", "20% of")
    mesh.tell(pods, "set?share=0.05")
    mesh.tell(pods, "reset")
    no_failure(mesh.load("--requests", "1000"))
    repeated = mesh.tell(pods, "counts")["requests"] - 1000
    expect(repeated >= 40, f"only {repeated} retries: this shows nothing")
    return (f"an outage met {tries[0]} tries of 1000 requests instead of {tries[1]}; {repeated} single failures of"
            " 1000 were retried, and none was seen")


ALL = {
    "canary": canary, "ab": ab, "blue-green": blue_green, "dark-launch": dark_launch, "zone-failover": zone_failover,
    "circuit-breaker": circuit_breaker, "retry-budget": retry_budget,
}


def checked(name):
    mesh = Example(name)
    try:
        mesh.up(mesh.source)
        return ALL[name](mesh), True
    except Failed as failure:
        return str(failure), False
    finally:
        mesh.down()


def main():
    names = sys.argv[1:] or list(ALL)
    unknown = [name for name in names if name not in ALL]
    if unknown:
        sys.exit(f"check: no example is named {unknown[0]}; there are {', '.join(ALL)}")
    if os.geteuid() != 0:
        sys.exit("check: making namespaces and loading eBPF programs needs root")
    results = []
    for name in names:
        began = time.monotonic()
        shown, good = checked(name)
        results.append(good)
        print(f"{'ok  ' if good else 'FAIL'}  {name:15}  {shown}  ({time.monotonic() - began:.1f} s)", flush=True)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
