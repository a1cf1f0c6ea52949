#!/usr/bin/env python3
"""What the tunnel stub costs, against Envoy as a sidecar in the same run: the part "tunnel" of scale.json.

Usage: stub.py [SECONDS [ROUNDS]]; needs root, wrk, nginx, `make build` (BIN), and PyPI the first time (Envoy).

Two pods on one bridge, 1 KB replies over 64 kept connections, all proxies on one core, the load and nginx on the other.
Every system is captured by the same nf_tables redirect that `weft-stub init` writes, runs as the same user, and carries
the connections over mTLS with certificates of the same CA. Rounds of the systems alternate.
"""
import json
import os
import re
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "Tests", "Stub"))
sys.path.append(os.path.join(HERE, "scale"))
from common import LOAD_CORE, PROGRAMS, PROXY_CORE, BenchError, program  # noqa: E402
os.environ.setdefault("BIN", os.path.abspath(PROGRAMS))
import envoy  # noqa: E402
import peers  # noqa: E402
import pods  # noqa: E402
import procs  # noqa: E402
from figures import write  # noqa: E402

SERVICE, CONNECTIONS = "10.96.0.10", 64
# Envoy as an HBONE tcp_proxy does less than a sidecar: no goal is set for it.
GOALS = {"cpu_to_envoy_sidecar": 0.5, "resident_mb": 5}
NGINX = """daemon off; master_process off; pid /dev/null; error_log /dev/null; worker_rlimit_nofile 65536;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600;
  server {{ listen 8080; listen [::]:8080; location / {{ return 200 "{body}"; }} }} }}
"""


def envoys(mesh, shape):
    """The two Envoys' configurations, client first: opaque streams in HBONE, or HTTP/1.1 over mTLS HTTP/2."""
    server = mesh["b"].address
    made = []
    for name, peer in (("a", "b"), ("b", "a")):
        certificates = f"{mesh.folder}/certificates-{name}"
        if name == "a":
            cluster = envoy.cluster("peer", server, 15008, 2, certificates)
            cluster["transport_socket"] = envoy.tls(certificates, server=False, peer=pods.SPIFFE + peer)
            listener = (
                envoy.tunnel_listener("out", "0.0.0.0", 15001, "peer", f"{server}:8080") if shape == "hbone"
                else envoy.http_listener("out", "0.0.0.0", 15001, "peer"))
            made.append(envoy.bootstrap([listener], [cluster]))
        else:
            listener = envoy.http_listener("in", "0.0.0.0", 15008, "backend", certificates, connect=shape == "hbone")
            listener["filter_chains"][0]["transport_socket"] = envoy.tls(
                certificates, server=True, peer=pods.SPIFFE + peer)
            http = None if shape == "hbone" else 1
            made.append(envoy.bootstrap([listener], [envoy.cluster("backend", server, 8080, http)]))
    return made


class Envoys:
    def __init__(self, mesh, shape):
        client, server = envoys(mesh, shape)
        self.start(mesh, [("a", client, 15001), ("b", server, 15008)], shape)

    def start(self, mesh, configurations, shape):
        self.processes = []
        for name, config, port in configurations:
            pod = mesh[name]
            path = f"{mesh.folder}/envoy-{shape}-{pod.name}.json"
            with open(path, "w") as file:
                json.dump(config, file)
            self.processes.append(pod.start(
                ["taskset", "-c", str(PROXY_CORE), peers.install_envoy(), "-c", path, "--concurrency", "1",
                 "--disable-hot-restart", "-l", "error"], user=pods.USER, log=pod.log))
            pods.wait_for(lambda: procs.listens(self.processes[-1].pid, port), f"Envoy on {port}")

    def pids(self):
        return procs.with_children([process.pid for process in self.processes])

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


class Stubs(Envoys):
    def __init__(self, mesh):
        self.processes = []
        for pod in (mesh["a"], mesh["b"]):
            folder = f"{mesh.folder}/certificates-{pod.name}"
            self.processes.append(pod.start_stub(credentials=[
                "--certificate", f"{folder}/tls.pem", "--key", f"{folder}/key.pem", "--ca-file", f"{folder}/ca.pem"]))
        procs.pin(self.pids(), PROXY_CORE)


def load(mesh, seconds):
    """(requests, milliseconds at the 99th percentile) of one wrk; any error ends the run."""
    said = pods.run(mesh["a"].inside(
        ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "taskset", "-c", str(LOAD_CORE), "wrk",
         "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--latency", f"http://{SERVICE}:80/"]))
    if "Socket errors" in said or "Non-2xx" in said:
        raise BenchError(f"wrk saw errors: {said}")
    requests = int(re.search(r"(\d+) requests in", said).group(1))
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    return requests, float(p99.group(1)) * {"us": 0.001, "ms": 1, "s": 1000}[p99.group(2)]


def measure(mesh, system, seconds):
    running = system(mesh)
    try:
        load(mesh, 1)
        with procs.Meter("proxies", running.pids) as meter:
            requests, p99 = load(mesh, seconds)
        resident = max(procs.resident_kb([pid]) for pid in running.pids())
        return {"microseconds_per_request": meter.cpu * 1e6 / requests, "requests_per_second": requests / seconds,
                "p99_milliseconds": p99, "resident_kb": resident}
    finally:
        running.stop()
        time.sleep(0.3)


def resident(mesh):
    """Of the client's stub: idle, and with 100 connections that are all in use."""
    running = Stubs(mesh)
    try:
        pid = mesh["a"].stub.pid
        time.sleep(6)
        idle = procs.resident_kb([pid])
        app = os.path.join(pods.HERE, "app.py")
        held = [mesh["a"].start([sys.executable, app, "hold", SERVICE, "81", "12"], user=1000) for _ in range(100)]
        time.sleep(7)
        samples = []
        for _ in range(30):
            samples.append(procs.resident_kb([pid]))
            time.sleep(0.1)
        for process in held:
            process.kill()
            process.wait()
        return {"idle_kb": idle, "connections_100_median_kb": statistics.median(samples),
                "connections_100_maximum_kb": max(samples)}
    finally:
        running.stop()


SYSTEMS = {"weft_stub": Stubs, "envoy_sidecar_http": lambda mesh: Envoys(mesh, "pair"),
           "envoy_tcp_proxy_hbone": lambda mesh: Envoys(mesh, "hbone")}


def prepare(mesh):
    for name in ("a", "b"):
        mesh.write_pod(name)
    mesh.write("service-web", {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"clusterIP": SERVICE, "clusterIPs": [SERVICE], "selector": {"app": "b"}, "ports": [
            {"name": "http", "port": 80, "targetPort": 8080}, {"name": "raw", "port": 81, "targetPort": 8081}]}})
    mesh.start_control()
    for name in ("a", "b"):
        mesh.issue(name, name)
        mesh[name].capture()
    path = f"{mesh.folder}/nginx.conf"
    with open(path, "w") as file:
        file.write(NGINX.format(body="x" * 1024))
    mesh["b"].start(["taskset", "-c", str(LOAD_CORE), "nginx", "-c", path])
    mesh["b"].serve(8081)


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    mesh = pods.Mesh()
    runs = {name: [] for name in SYSTEMS}
    try:
        prepare(mesh)
        for _ in range(rounds):
            for name, system in SYSTEMS.items():
                runs[name].append(measure(mesh, system, seconds))
                print(name, {key: round(value, 1) for key, value in runs[name][-1].items()}, flush=True)
        memory = resident(mesh)
    finally:
        mesh.close()
    results = {name: {key: round(statistics.median(run[key] for run in all_runs), 2) for key in all_runs[0]}
               for name, all_runs in runs.items()}
    cost = {name: result["microseconds_per_request"] for name, result in results.items()}
    write("tunnel", {
        "seconds_per_round": seconds, "rounds": rounds, "connections": CONNECTIONS, "load_average": os.getloadavg()[0], "systems": results,
        "cpu_to_envoy_sidecar": round(cost["weft_stub"] / cost["envoy_sidecar_http"], 3),
        "cpu_to_envoy_tcp_proxy_hbone": round(cost["weft_stub"] / cost["envoy_tcp_proxy_hbone"], 3),
        "stub_resident": memory, "resident_mb": round(memory["connections_100_median_kb"] / 1024, 1), "goals": GOALS})


if __name__ == "__main__":
    try:
        main()
    except (BenchError, pods.Failed) as error:
        sys.exit(f"stub: {error}")
