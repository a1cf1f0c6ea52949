#!/usr/bin/env python3
"""What README's "Deploying to Kubernetes" types, on a real API server whose two nodes the lab simulates; each line checked.

Usage: kubernetes.py; needs root, the programs in $BIN and `make deps-kubernetes`. Ends with status 1 if a line failed.
"""
import json, os, re, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from lab import BIN, Failed, Lab, expect, run, wait_for

NAME = "kubedemo"
FILES = f"{HERE}/kubernetes"
GATEWAY = f"{HERE}/../Tests/Kubernetes/gateway"


class Cluster(Lab):
    def weft_cli(self, *words, **options):
        return run(["nsenter", f"--net=/run/netns/weft-{self.name}", f"{BIN}/weft", *words, "--kubeconfig", f"{self.folder}/kubeconfig"], **options)

    def kubectl(self, *words, **options):
        return self._lab("kubectl", "--", *words, **options).stdout

    def start(self):
        self._lab("up", "--kubernetes", f"{FILES}/lab", timeout=120)

    def pod(self, app):
        return self.kubectl("get", "pods", "-n", "shop", "-l", f"app={app}", "-o", "jsonpath={.items[0].metadata.name}")

    def names(self, pod, count=40):
        """How often each version answered."""
        said = self.exec(pod, "sh", "-c", f"for i in $(seq {count}); do curl -sS --max-time 5 http://web/; echo; done", timeout=120).stdout
        found = re.findall(r"web-v\d", said)
        return {name: found.count(name) for name in sorted(set(found))}, len(found)


def install(cluster):
    cluster.kubectl("apply", "--server-side", "-f", GATEWAY, timeout=60)
    cluster.weft_cli("install", "--overlay", "small", "--timeout", "120", timeout=150)
    return cluster.weft_cli("version").stdout.strip().replace("\n", "; ")[:160]


def enrol(cluster):
    cluster.kubectl("apply", "-f", f"{FILES}/shop.yaml")
    for name in ("web", "web-v2", "client"):
        cluster.kubectl("rollout", "status", "-n", "shop", f"deployment/{name}", "--timeout=60s", timeout=70)
    cluster.kubectl("label", "namespace", "shop", "weft.dev/mesh=enabled")

    def enrolled():
        answers = json.loads(cluster.weft_cli("workloads", "-A", "-o", "json").stdout)
        return sum(entry["state"] == "enrolled" for answer in answers for entry in answer["answer"]["workloads"]) == 4

    wait_for("four pods to be enrolled", enrolled, 20)
    names, good = cluster.names(cluster.pod("client"))
    expect(good == 40 and len(names) == 2, f"of 40 requests {names} were answered")
    return f"four running pods are in the mesh; {names}"


def canary(cluster):
    cluster.kubectl("apply", "-f", f"{FILES}/canary.yaml")

    def conditions():
        parents = json.loads(cluster.kubectl("get", "httproute", "-n", "shop", "canary", "-o", "json")).get("status", {}).get("parents", [])
        return {c["type"]: c["status"] for p in parents if p["controllerName"] == "weft.dev/mesh" for c in p["conditions"]}

    wait_for("the route's status", lambda: conditions().get("Accepted") == "True" and conditions().get("Programmed") == "True", 20)
    names, good = cluster.names(cluster.pod("client"), 100)
    expect(good == 100 and 5 <= names.get("web-v2", 0) <= 40, f"of 100 requests {names}")
    return f"{', '.join(f'{kind} {value}' for kind, value in sorted(conditions().items()))}; {names}"


def stub(cluster):
    cluster.kubectl("apply", "-f", f"{FILES}/stub.yaml")
    cluster.kubectl("wait", "-n", "shop", "pod/tunnel", "--for=condition=Ready", "--timeout=60s", timeout=70)
    names, good = cluster.names("tunnel", 20)
    expect(good == 20, f"of 20 requests {names} were answered")
    node = cluster.kubectl("get", "pod", "-n", "shop", "tunnel", "-o", "jsonpath={.spec.nodeName}")
    said = cluster.weft_cli("status", "--node", node).stdout
    expect("shop/tunnel, tunnel: " in said, f"weft status of node {node} doesn't tell of the stub: {said}")
    return f"the pod with its own proxy reaches the mesh: {names}"


def rollout(cluster):
    client, counts = cluster.pod("client"), {}
    load = threading.Thread(target=lambda: counts.update(zip(("names", "good"), cluster.names(client, 400))))
    load.start()
    cluster.kubectl("set", "env", "-n", "shop", "deployment/web", "ROUND=2")
    cluster.kubectl("rollout", "status", "-n", "shop", "deployment/web", "--timeout=90s", timeout=100)
    load.join()
    expect(counts.get("good") == 400, f"of 400 requests during the rollout {counts} were answered")
    return "400 requests while the Deployment was replaced, 0 failed"


def check(cluster):
    said = cluster.weft_cli("check", "-A", check=False)
    expect(said.returncode == 0, said.stdout[-600:])
    return f"{said.stdout.count('✓')} checks, nothing to repair"


def uninstall(cluster):
    cluster.weft_cli("uninstall", "--crds", "--timeout", "60", timeout=90)
    left = cluster.kubectl("get", "namespaces,clusterroles,crd,mutatingwebhookconfigurations", "-o", "name")
    expect("weft" not in left, f"left in the cluster: {re.findall('.*weft.*', left)}")
    for node in ("a", "b"):
        for folder in (f"/sys/fs/bpf/weft-lab/{cluster.name}/{node}", f"{cluster.folder}/nodes/{node}/root/run/weft", f"{cluster.folder}/nodes/{node}/root/var/lib/weft"):
            found = [name for _, _, names in os.walk(folder) for name in names]
            expect(not found, f"left in {folder}: {found}")
    return "no object, pin, socket or file is left"


LINES = [("weft install", install), ("kubectl label namespace", enrol), ("a canary by HTTPRoute", canary), ("a pod with a stub", stub),
    ("a rolling update under load", rollout), ("weft check", check), ("weft uninstall", uninstall)]


def main():
    if os.geteuid() != 0:
        sys.exit("demo: making namespaces and loading eBPF programs needs root: sudo make demo-kubernetes")
    cluster, good = Cluster(NAME), True
    try:
        print("starting an API server, its controllers and two nodes", flush=True)
        cluster.down()
        cluster.start()
        for name, line in LINES:
            began = time.monotonic()
            try:
                shown, ok = line(cluster), True
            except Failed as failure:
                shown, ok, good = str(failure), False, False
            print(f"{'ok  ' if ok else 'FAIL'} {name}: {shown}  ({time.monotonic() - began:.1f} s)", flush=True)
            if not ok and line is install:
                break
    except Failed as failure:
        print(f"FAIL the cluster starts: {failure}")
        good = False
    finally:
        cluster.down()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
