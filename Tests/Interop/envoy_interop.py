#!/usr/bin/env python3
"""Weft and the real Envoy over HBONE, in both directions, with certificates of Weft's CA. Each line is checked.

Usage: envoy_interop.py; needs root, the programs in $BIN, and PyPI the first time (Envoy, through benchmarks/peers.py).

Envoy runs in the pod `foreign`, which Weft does not capture. As a server it answers at a second address of that pod,
which the configuration gives to a pod `envoy`, meshed, on a node that runs no Weft: what a node of another mesh with
the same trust domain looks like.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "benchmarks"))
import common  # noqa: E402
import envoy  # noqa: E402
import lab as labs  # noqa: E402
import peers  # noqa: E402
import procs  # noqa: E402

HBONE, ADMIN, SEND = 15008, 15900, 20 << 20
ENVOY_ADDRESS = "10.244.1.200"
SPIFFE = "spiffe://cluster.local/ns/interop/sa/"
FOREIGN_POD = {
    "apiVersion": "v1", "kind": "Pod",
    "metadata": {"name": "envoy", "namespace": "interop", "labels": {"weft.dev/mesh": "enabled"}},
    "spec": {"nodeName": "elsewhere", "serviceAccountName": "envoy",
             "containers": [{"name": "main", "ports": [{"containerPort": 8080}]}]},
    "status": {"phase": "Running", "podIP": ENVOY_ADDRESS, "podIPs": [{"ip": ENVOY_ADDRESS}],
               "conditions": [{"type": "Ready", "status": "True"}]}}


class Interop:
    def __init__(self, folder):
        self.folder = folder
        self.lab = labs.Lab(f"io{os.getpid() % 1000000}", HERE)
        self.run = f"/run/weft-lab/{self.lab.name}"
        self.envoys = []

    def check(self, line, holds, detail=""):
        print(f"{'ok  ' if holds else 'FAIL'}  {line}{': ' + detail if detail else ''}", flush=True)
        if not holds:
            raise common.BenchError(line)

    def issue(self, account, folder):
        """A key and a certificate by Weft's CA for a service account of the namespace."""
        out = os.path.join(self.folder, folder)
        common.run([common.program("weft-control"), "issue", "--state-dir", f"{self.run}/control/state",
                    "--spiffe-id", SPIFFE + account, "--out", out])
        return out

    def start_envoy(self, name, listeners, clusters, port):
        config = envoy.bootstrap(listeners, clusters)
        config["admin"] = {"address": envoy.address("127.0.0.1", ADMIN + len(self.envoys))}
        path = os.path.join(self.folder, f"{name}.json")
        with open(path, "w") as file:
            json.dump(config, file)
        argv = [peers.install_envoy(), "-c", path, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        self.envoys.append(procs.Process(f"interop-{name}", argv, self.lab.netns("foreign"), common.PROXY_CORE, port))
        return config["admin"]["address"]["socket_address"]["port_value"]

    def client(self, name, certificates, to, authority, port, peer):
        """An Envoy that carries what arrives on `port` in HBONE."""
        upstream = envoy.cluster("peer", to, HBONE, 2, certificates)
        upstream["transport_socket"] = envoy.tls(certificates, server=False, peer=SPIFFE + peer)
        self.start_envoy(name, [envoy.tunnel_listener("out", "127.0.0.1", port, "peer", authority)], [upstream], port)

    def pipe(self, pod, host, port, count):
        script = os.path.join(HERE, "pipe.py")
        return self.lab.inside(pod, [sys.executable, script, "send", host, str(port), str(count)])

    def refused(self, line, reason, pod, host, port):
        """A stream that must fail, and for a reason that the log of node a's proxy gives after it."""
        log = f"{self.run}/logs/agent-a.log"
        before = os.path.getsize(log)
        status, _ = self.send(pod, host, port, 10)

        def told():
            with open(log) as lines:
                lines.seek(before)
                return [text for text in lines if reason in text]
        self.check(line, status != 0 and bool(wait_for(told, 15)), f"\"{reason}\"")

    def send(self, pod, host, port, count=SEND):
        """(status, what pipe.py said)."""
        done = subprocess.run(self.pipe(pod, host, port, count), capture_output=True, text=True, timeout=60)
        return done.returncode, (done.stdout or done.stderr).strip().splitlines()[-1:]

    def counter(self, admin, name):
        url = f"http://127.0.0.1:{admin}/stats?filter={name}"
        lines = common.run(["nsenter", f"--net={self.lab.netns('foreign')}", "curl", "-sS", url]).splitlines()
        return sum(int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name}: "))

    def agent(self, node, what):
        return json.loads(common.run([common.program("weft"), "-o", "json", "--socket",
                                      f"{self.run}/nodes/{node}/run/agent.sock", what]))

    # Envoy as the client.

    def envoy_to_weft(self):
        server = self.lab.address("server")
        target = f"{server}:8080"
        good = self.issue("envoy", "good")
        self.client("client", good, server, target, 18001, "server")
        status, said = self.send("foreign", "127.0.0.1", 18001)
        self.check("Envoy's stream reaches a Weft pod, both ways, with half-close", status == 0, " ".join(said))
        several = [subprocess.Popen(
            self.pipe("foreign", "127.0.0.1", 18001, 300000), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in range(20)]
        self.check("twenty of Envoy's streams at once", all(process.wait(60) == 0 for process in several))
        self.seen_by_weft()

        self.client("stranger", self.issue("server", "stranger"), server, target, 18002, "server")
        self.refused("an Envoy with another workload's certificate is refused", "and its client showed",
                     "foreign", "127.0.0.1", 18002)
        other_ca = self.other_ca()
        self.client("other-ca", other_ca, server, target, 18003, "server")
        self.refused("an Envoy with a certificate of another CA is refused", "is refused: TLS",
                     "foreign", "127.0.0.1", 18003)
        self.client("misled", good, server, f"{self.lab.address('client')}:8080", 18004, "server")
        self.refused("a CONNECT to an address that is not that pod's is refused", "which is not this pod",
                     "foreign", "127.0.0.1", 18004)
        status, said = self.send("foreign", "127.0.0.1", 18001, 1000)
        self.check("after these the first Envoy is still served", status == 0, " ".join(said))

    def seen_by_weft(self):
        script = ("import socket, sys; s = socket.create_connection(('127.0.0.1', 18001)); s.sendall(b'x');"
                  " print('open', flush=True); sys.stdin.read()")
        hold = subprocess.Popen(
            self.lab.inside("foreign", [sys.executable, "-c", script]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        hold.stdout.readline()
        try:
            found = wait_for(lambda: [
                c for c in self.agent("a", "connections")["connections"]
                if c["direction"] == "inbound" and c["source_identity"] == SPIFFE + "envoy"])
        finally:
            hold.communicate()
        self.check("`weft connections` names Envoy's identity",
                   any(c["protocol"] == "hbone" and c["tls"] for c in found),
                   ", ".join(f"{c['source_identity']} to {c['destination_identity']}" for c in found))

    def other_ca(self):
        """What Envoy trusts is Weft's; what it shows is not, though the SPIFFE ID in it is right."""
        made = peers.make_certificates(SPIFFE + "envoy", os.path.join(self.folder, "other-ca"))
        shutil.copy(os.path.join(self.folder, "good", "ca.pem"), os.path.join(made, "ca.pem"))
        return made

    # Envoy as the server.

    def weft_to_envoy(self):
        node = next(n for n in self.lab.state["nodes"] if n["name"] == "b")["networkNamespace"]
        pod = self.lab.pod("foreign")
        common.run(["ip", "-n", pod["networkNamespace"], "address", "add", f"{ENVOY_ADDRESS}/32", "dev", "lo"])
        common.run(["ip", "-n", node, "route", "add", f"{ENVOY_ADDRESS}/32", "dev", f"v{pod['index']}"])
        path = f"{self.run}/config/pod_interop_envoy.yaml"
        with open(path + ".new", "w") as file:
            json.dump(FOREIGN_POD, file)
        os.rename(path + ".new", path)
        known = wait_for(lambda: [
            w for w in self.agent("a", "workloads")["workloads"] if w["uid"] == "interop/envoy" and w["meshed"]])
        self.check("a meshed pod on a node without Weft is known", bool(known), known[0]["state"] if known else "")

        self.refused("without an HBONE server there is no connection, and no plaintext instead", "can't connect",
                     "client", ENVOY_ADDRESS, 8080)
        inbound = envoy.http_listener("in", ENVOY_ADDRESS, HBONE, "backend", self.issue("envoy", "good"), connect=True)
        inbound["filter_chains"][0]["transport_socket"] = envoy.tls(
            os.path.join(self.folder, "good"), server=True, peer=SPIFFE + "client")
        admin = self.start_envoy("server", [inbound], [envoy.cluster("backend", "127.0.0.1", 8080)], HBONE)
        status, said = self.send("client", ENVOY_ADDRESS, 8080)
        self.check("a Weft pod's stream reaches Envoy's, both ways, with half-close", status == 0, " ".join(said))
        streams = self.counter(admin, "http.in.downstream_rq_completed")
        handshakes = self.counter(admin, f"listener.{ENVOY_ADDRESS}_{HBONE}.ssl.handshake")
        self.check("Envoy has seen it in HBONE", streams >= 1 and handshakes >= 1,
                   f"{streams} CONNECT in {handshakes} TLS connections, the client's SPIFFE ID checked")
        self.stop_envoys()

        inbound["filter_chains"][0]["transport_socket"] = envoy.tls(
            self.issue("server", "impostor"), server=True, peer=SPIFFE + "client")
        self.start_envoy("impostor", [inbound], [envoy.cluster("backend", "127.0.0.1", 8080)], HBONE)
        self.refused("an Envoy that shows another workload's certificate gets nothing", "and its certificate says",
                     "client", ENVOY_ADDRESS, 8080)

    def log_ends(self):
        """What both sides said last, for whoever has to find out."""
        paths = [f"{self.run}/logs/agent-a.log"] + [process.log for process in self.envoys]
        return "\n".join(f"{path}:\n{open(path).read()[-3000:]}" for path in paths if os.path.exists(path))

    def stop_envoys(self):
        for process in self.envoys:
            process.stop()
        self.envoys.clear()


def wait_for(find, seconds=10):
    """What `find` returns as soon as that is anything; else its last answer."""
    end = time.monotonic() + seconds
    while not (found := find()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def main():
    if os.geteuid() != 0:
        sys.exit("envoy_interop: making namespaces needs root")
    # A test runner may block signals, and what is started here inherits that: Envoy has to hear SIGTERM.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    peers.install_envoy()
    with tempfile.TemporaryDirectory(prefix="weft-interop-") as folder:
        interop = Interop(folder)
        try:
            interop.lab.up()
            interop.envoy_to_weft()
            interop.stop_envoys()
            interop.weft_to_envoy()
        except common.BenchError as error:
            sys.exit(f"envoy_interop: {error}\n{interop.log_ends()}")
        finally:
            interop.stop_envoys()
            interop.lab.down()
    print("Weft and Envoy understand each other")


if __name__ == "__main__":
    main()
