#!/usr/bin/env python3
"""Requests while a Deployment is replaced, and while every agent and its proxy are, on a real API server with the lab's two
nodes: wrk's connections are counted as they come, nothing is tried again.

Usage: rollouts.py [--requests N]. Writes the part "rollouts" of ../scale.json. Needs the programs in $BIN and
`make deps-kubernetes`; root.
"""
import argparse, json, os, re, sys, threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(HERE, "../../demo")]
import kubernetes
from common import BenchError
from figures import write
from lab import Failed


class Load:
    """wrk in the client's pod, in runs of some seconds, until it is stopped and has made enough requests."""

    def __init__(self, cluster, requests, *options):
        self.cluster, self.wanted, self.options = cluster, requests, options
        self.pod = cluster.pod("client")
        self.requests = self.failed = 0
        self.said, self.error, self.isOver = [], None, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.error and (not self.isOver or self.requests < self.wanted):
                text = self.cluster.exec(self.pod, "wrk", "-t1", "-c16", "-d5s", "--timeout", "10s", *self.options, "http://web/", timeout=60).stdout
                self.requests += int(re.search(r"(\d+) requests in", text)[1])
                # A connection that ends in the middle, a request without an answer, and an answer that isn't good.
                errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
                refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
                bad = sum(int(count) for count in errors.groups()) if errors else 0
                bad += int(refused[1]) if refused else 0
                if bad:
                    self.failed += bad
                    self.said.append(" ".join(line.strip() for line in text.splitlines() if "rrors" in line or "Non-2xx" in line))
        except (Failed, TypeError) as failure:
            self.error = str(failure)

    def end(self):
        """(requests, failed)."""
        self.isOver = True
        self.thread.join()
        if self.error:
            raise BenchError(f"the load: {self.error}")
        return self.requests, self.failed


def of_a_deployment(cluster, requests, *options):
    load = Load(cluster, requests, *options)
    turn = 0
    while turn < 2 or load.requests < requests and not load.error:
        turn += 1
        cluster.kubectl("set", "env", "-n", "shop", "deployment/web", f"ROUND={turn}")
        cluster.kubectl("rollout", "status", "-n", "shop", "deployment/web", "--timeout=90s", timeout=100)
    return {"replacements": turn, **named(load)}


def proxies(cluster):
    """Of each node whose agent answers the pid that serves."""
    return {answer["node"]: answer["proxy"]["pid"] for answer in cluster.answers("status")}


def are_new(before, now):
    return all(now.get(node, 0) not in (0, pid) for node, pid in before.items())


def of_the_agents(cluster, requests):
    # The same program counts as another one.
    patch = [{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--replace-proxy"}]
    load = Load(cluster, requests)
    turn, before = 0, proxies(cluster)
    if len(before) != 2:
        raise BenchError(f"of two agents these answer: {before}")
    replaced = 0
    while turn < 2 or load.requests < requests and not load.error:
        turn += 1
        if turn == 1:
            cluster.kubectl("patch", "-n", "weft-system", "daemonset/weft-agent", "--type=json", "-p", json.dumps(patch))
        else:
            cluster.kubectl("rollout", "restart", "-n", "weft-system", "daemonset/weft-agent")
        cluster.kubectl("rollout", "status", "-n", "weft-system", "daemonset/weft-agent", "--timeout=120s", timeout=130)
        kubernetes.wait_for("both proxies to be new ones", lambda: are_new(before, proxies(cluster)), 60)
        now = proxies(cluster)
        replaced += len(now)
        before = now
    return {"replacements": turn, "proxies_replaced": replaced, **named(load)}


def named(load):
    requests, failed = load.end()
    return {"requests": requests, "failed": failed, **({"said": load.said[:10]} if failed else {})}


def measure(requests):
    cluster = kubernetes.Cluster("rollouts")
    try:
        cluster.down()
        cluster.start()
        kubernetes.begin(cluster)
        return {"deployment": of_a_deployment(cluster, requests), "agents": of_the_agents(cluster, requests)}
    finally:
        cluster.down()


def main():
    parser = argparse.ArgumentParser(description="Counts the requests that fail while a Deployment, or the agents, are replaced.")
    parser.add_argument("--requests", type=int, default=100_000, help="at least, of each (default: 100000)")
    options = parser.parse_args()
    if options.requests < 1:
        parser.error("--requests takes at least 1")
    result = measure(options.requests)
    write("rollouts", {**result, "goals": {"failed": 0, "requests": 100_000}})


if __name__ == "__main__":
    try:
        main()
    except (BenchError, Failed) as error:
        sys.exit(f"rollouts.py: {error}")
