#!/usr/bin/env python3
"""What README's "Deploy to Kubernetes" types, on a real API server whose two nodes the lab simulates; each line checked.

Usage: kubernetes.py [IMAGES]; needs root, the programs in $BIN and `make deps-kubernetes`. IMAGES: the folder of an OCI layout;
what it holds runs from there, with no file but the image's. Ends with status 1 if a line failed.
"""
import json, os, re, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from lab import BIN, Failed, Lab, expect, run, wait_for

NAME = "kubedemo"
FILES = f"{HERE}/kubernetes"


class Cluster(Lab):
    def weft_cli(self, *words, **options):
        return run(["nsenter", f"--net=/run/netns/weft-{self.name}", f"{BIN}/weft", *words, "--kubeconfig", f"{self.folder}/kubeconfig"], **options)

    def answers(self, what):
        """Of the agents that answer. The exit status says whether all is well, which is not what is asked here."""
        said = self.weft_cli(what, "-A", "-o", "json", check=False).stdout
        return [entry["answer"] for entry in (json.loads(said) if said.strip() else []) if entry.get("answer") and "pod" not in entry]

    def kubectl(self, *words, **options):
        return self._lab("kubectl", "--", *words, **options).stdout

    @classmethod
    def of(cls, case, name):
        """Runs for a class of tests."""
        cluster = cls(name)
        cluster.down()
        case.addClassCleanup(cluster.down)
        cluster.start()
        return cluster

    def apply_objects(self, *objects):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"apiVersion": "v1", "kind": "List", "items": objects}, file)
            file.flush()
            self.kubectl("apply", "-f", file.name)

    def type(self, line):
        """A line of README: from the checkout's folder, with this cluster's kubeconfig."""
        program, *words = line.split()
        words = [os.path.join(HERE, "..", word) if word.startswith(("demo/", "Tests/")) else word for word in words]
        if program == "kubectl":
            return self.kubectl(*words, timeout=60)
        return self.weft_cli(*words, timeout=180).stdout

    def start(self, images=None):
        self._lab("up", "--kubernetes", f"{FILES}/lab", *(["--images", images] if images else []), timeout=120)

    def pod(self, app):
        return self.kubectl("get", "pods", "-n", "shop", "-l", f"app={app}", "-o", "jsonpath={.items[0].metadata.name}")

    def names(self, pod, count=40):
        """How often each version answered."""
        said = self.exec(pod, "sh", "-c", f"for i in $(seq {count}); do curl -sS --max-time 5 http://web/; echo; done", timeout=120).stdout
        found = re.findall(r"web-v\d", said)
        return {name: found.count(name) for name in sorted(set(found))}, len(found)


def commands():
    """The lines that README's "Deploy to Kubernetes" types, without their comments."""
    with open(f"{HERE}/../README.md") as file:
        section = file.read().split("\n## Deploy to Kubernetes\n")[1].split("\n## ")[0]
    block = section.split("```\n")[1]
    return [line[2:].split(" # ")[0].strip() for line in block.splitlines() if line.startswith("$ ")]


def begin(cluster):
    """What other programs begin with, checks and all: up to the shop's being in the mesh."""
    for line, made in steps():
        made(cluster, line)
        if made is label:
            return


def shop_runs(cluster):
    for name in ("web", "web-v2", "client"):
        cluster.kubectl("rollout", "status", "-n", "shop", f"deployment/{name}", "--timeout=60s", timeout=70)


def is_enrolled(cluster):
    def enrolled():
        return sum(entry["state"] == "enrolled" for answer in cluster.answers("workloads") for entry in answer["workloads"]) == 4

    wait_for("four pods to be enrolled", enrolled, 60)


# Each takes the cluster and the line that is to be typed, and says in words what was seen.

def gateway(cluster, line):
    cluster.type(line)

    def is_known():
        try:
            return all(cluster.kubectl("get", kind, "-A") is not None for kind in ("httproutes", "grpcroutes", "referencegrants"))
        except Failed:
            return False

    wait_for("the API server to know them", is_known, 20)
    return "the API server knows routes"


def check_before(cluster, line):
    return f"{cluster.type(line).count('✓')} things are as they have to be"


def installed(cluster, line):
    cluster.type(line)
    return cluster.weft_cli("version").stdout.strip().replace("\n", "; ")[:160]


def shop(cluster, line):
    cluster.type(line)
    shop_runs(cluster)
    names, good = cluster.names(cluster.pod("client"), 10)
    expect(good == 10, f"of 10 requests {names} were answered")
    return "it runs, without the mesh"


def label(cluster, line):
    cluster.type(line)
    is_enrolled(cluster)
    seen = {}

    def both_answer():
        """A version whose first answer was slow is left alone for some seconds."""
        names, good = cluster.names(cluster.pod("client"))
        expect(good == 40, f"of 40 requests {names} were answered")
        seen.update({name: seen.get(name, 0) + count for name, count in names.items()})
        return len(seen) == 2

    wait_for("both versions to answer", both_answer, 20)
    return f"four running pods are in the mesh; {seen}"


def canary(cluster, line):
    cluster.type(line)

    def conditions():
        parents = json.loads(cluster.kubectl("get", "httproute", "-n", "shop", "canary", "-o", "json")).get("status", {}).get("parents", [])
        return {c["type"]: c["status"] for p in parents if p["controllerName"] == "weft.dev/mesh" for c in p["conditions"]}

    wait_for("the route's status", lambda: conditions().get("Accepted") == "True" and conditions().get("Programmed") == "True", 20)
    names, good = cluster.names(cluster.pod("client"), 100)
    expect(good == 100 and 5 <= names.get("web-v2", 0) <= 40, f"of 100 requests {names}")
    return f"{', '.join(f'{kind} {value}' for kind, value in sorted(conditions().items()))}; {names}"


def stub(cluster, line):
    cluster.type(line)
    told = []
    for mode in ("tunnel", "handoff"):
        cluster.kubectl("wait", "-n", "shop", f"pod/{mode}", "--for=condition=Ready", "--timeout=60s", timeout=70)
        names, good = cluster.names(mode, 20)
        expect(good == 20, f"of 20 requests from the pod {mode} {names} were answered")
        node = cluster.kubectl("get", "pod", "-n", "shop", mode, "-o", "jsonpath={.spec.nodeName}")
        said = cluster.weft_cli("status", "--node", node).stdout
        expect(f"shop/{mode}, {mode}: " in said, f"weft status of node {node} doesn't tell of the stub: {said}")
        told.append(f"{mode} {names}")
    return f"pods with a stub of either kind reach the mesh: {', '.join(told)}"


def rollout(cluster, line):
    client, counts = cluster.pod("client"), {}
    load = threading.Thread(target=lambda: counts.update(zip(("names", "good"), cluster.names(client, 400))))
    load.start()
    cluster.type(line)
    cluster.kubectl("rollout", "status", "-n", "shop", "deployment/web", "--timeout=90s", timeout=100)
    load.join()
    expect(counts.get("good") == 400, f"of 400 requests during the rollout {counts} were answered")
    return "400 requests while the Deployment was replaced, 0 failed"


def upgrade(cluster, line):
    said = cluster.type(line)
    expect(all(f"{node}: its agent is replaced" in said for node in ("a", "b")), f"both agents are replaced: {said[-600:]}")
    names, good = cluster.names(cluster.pod("client"), 20)
    expect(good == 20, f"of 20 requests {names} were answered")
    return "both agents are replaced, one after the other"


def check(cluster, line):
    return f"{cluster.type(line).count('✓')} checks, nothing to repair"


def uninstall(cluster, line):
    has_tunnel = "tunnel" in cluster.kubectl("get", "pods", "-n", "shop", "-o", "jsonpath={.items[*].metadata.name}").split()
    said = cluster.type(line)
    expect(not has_tunnel or "shop/tunnel" in said, f"it says which pods still have a stub: {said[-400:]}")
    left = cluster.kubectl("get", "namespaces,clusterroles,clusterrolebindings,priorityclasses,crd,mutatingwebhookconfigurations", "-o", "name")
    left += cluster.kubectl("get", "configmaps", "-n", "shop", "-o", "name")
    expect("weft" not in left, f"left in the cluster: {re.findall('.*weft.*', left)}")
    with open("/proc/mounts") as mounts:
        tree = next(fields[1] for fields in map(str.split, mounts) if fields[2] == "cgroup2")
    for node in ("a", "b"):
        cgroup = f"{tree}/weft-lab/{cluster.name}/{node}/weft"
        expect(not os.path.exists(cgroup), f"left: the cgroup {cgroup}")
        for folder in (f"/sys/fs/bpf/weft-lab/{cluster.name}/{node}", f"{cluster.folder}/nodes/{node}/root/run/weft", f"{cluster.folder}/nodes/{node}/root/var/lib/weft"):
            found = [name for _, _, names in os.walk(folder) for name in names]
            expect(not found, f"left in {folder}: {found}")
    return "no object, pin, cgroup, socket or file is left"


# What each line has to bring about, by its beginning.
CHECKS = {"kubectl apply --server-side": gateway, "weft check --pre": check_before, "weft install": installed, "kubectl apply -f demo/kubernetes/shop.yaml": shop,
    "kubectl label": label, "kubectl apply -f demo/kubernetes/canary.yaml": canary, "kubectl apply -f demo/kubernetes/stub.yaml": stub,
    "kubectl set env": rollout, "weft upgrade": upgrade, "weft check -A": check, "weft uninstall": uninstall}


def steps():
    """(line, its check) of README's lines; one that nobody checks, and a check without its line, are mistakes."""
    found = [(line, next((made for start, made in CHECKS.items() if line.startswith(start)), None)) for line in commands()]
    missing = [line for line, made in found if made is None] + [made.__name__ for made in CHECKS.values() if made not in [m for _, m in found]]
    expect(not missing, f"README and the demo differ: {missing}")
    return found


def main():
    if os.geteuid() != 0:
        sys.exit("demo: making namespaces and loading eBPF programs needs root: sudo make demo-kubernetes")
    cluster, good = Cluster(NAME), True
    try:
        print("starting an API server, its controllers and two nodes", flush=True)
        cluster.down()
        cluster.start(*sys.argv[1:2])
        for line, made in steps():
            began = time.monotonic()
            try:
                shown, ok = made(cluster, line), True
            except Failed as failure:
                shown, ok, good = str(failure), False, False
            print(f"{'ok  ' if ok else 'FAIL'} $ {line}\n     {shown}  ({time.monotonic() - began:.1f} s)", flush=True)
            if not ok and made is installed:
                break
    except Failed as failure:
        print(f"FAIL the cluster starts: {failure}")
        good = False
    finally:
        cluster.down()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
