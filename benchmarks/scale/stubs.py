#!/usr/bin/env python3
"""What a stub of either kind costs beside its application: memory, and CPU of each request that goes from its pod to the mesh, on
a real API server with the lab's two nodes. (../stub.py holds the tunnel stub's CPU against Envoy's.)

Usage: stubs.py [--seconds N]. Writes the part "stubs" of ../scale.json. Needs the programs in $BIN and `make deps-kubernetes`; root.
"""
import argparse, os, re, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(HERE, "../../demo")]
import kubernetes
from common import BenchError
from figures import cpu_seconds, memory, write
from lab import Failed

GOALS = {"resident_mb": 5, "handoff_cpu_us_per_request": 0}


def stub(cluster, pod):
    """The pid of the pod's stub."""
    uid = cluster.kubectl("get", "pod", "-n", "shop", pod, "-o", "jsonpath={.metadata.uid}")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cgroup") as cgroup, open(f"/proc/{pid}/comm") as comm:
                # The systemd driver writes it with underscores.
                if uid in cgroup.read().replace("_", "-") and comm.read().strip() == "weft-stub":
                    return int(pid)
        except OSError:
            continue
    raise BenchError(f"the pod {pod} has no weft-stub")


def load(cluster, pod, seconds):
    text = cluster.exec(pod, "wrk", "-t1", "-c16", f"-d{seconds}s", "--timeout", "10s", "http://web/", timeout=seconds + 60).stdout
    if "rrors" in text or "Non-2xx" in text:
        raise BenchError(f"the load of {pod}: {text}")
    return int(re.search(r"(\d+) requests in", text)[1])


def measure(seconds):
    cluster, result = kubernetes.Cluster("stubs"), {}
    try:
        cluster.down()
        cluster.start()
        kubernetes.begin(cluster)
        cluster.kubectl("apply", "-f", f"{kubernetes.FILES}/stub.yaml")
        for pod in ("tunnel", "handoff"):
            cluster.kubectl("wait", "-n", "shop", f"pod/{pod}", "--for=condition=Ready", "--timeout=60s", timeout=70)
            pid = stub(cluster, pod)
            load(cluster, pod, 2)
            time.sleep(2)
            before = cpu_seconds(pid)
            requests = load(cluster, pod, seconds)
            spent = cpu_seconds(pid) - before
            result[pod] = {"requests": requests, "cpu_us_per_request": round(1e6 * spent / requests, 2), "resident_kb": memory(pid, kilobytes=True)}
    finally:
        cluster.down()
    return result


def main():
    parser = argparse.ArgumentParser(description="Measures what stubs cost beside their applications.")
    parser.add_argument("--seconds", type=int, default=10, help="of load in each pod (default: 10)")
    options = parser.parse_args()
    if not 1 <= options.seconds <= 600:
        parser.error("--seconds takes 1 to 600")
    result = measure(options.seconds)
    write("stubs", {**result, "resident_mb": round(max(entry["resident_kb"] for entry in result.values()) / 1024, 1),
        "handoff_cpu_us_per_request": result["handoff"]["cpu_us_per_request"], "goals": GOALS})


if __name__ == "__main__":
    try:
        main()
    except (BenchError, Failed) as error:
        sys.exit(f"stubs.py: {error}")
