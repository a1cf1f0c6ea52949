"""Pods without an agent: network namespaces on one bridge, a real weft-control on a folder, and a stub in each pod.

Everything has a name of its own (by pid), and `close` removes it all.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.join(HERE, "..", "..")
USER = 61337
CONTROL = "10.77.0.1"
SPIFFE = "spiffe://cluster.local/ns/shop/sa/"


class Failed(Exception):
    pass


def program(name):
    if name == "weft-stub" and "WEFT_STUB" in os.environ:
        return os.environ["WEFT_STUB"]
    folder = os.environ.get("BIN") or os.path.join(REPOSITORY, ".build", "debug")
    return os.path.abspath(os.path.join(folder, name))


def run(argv, **options):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, **options)
    if done.returncode != 0:
        raise Failed(f"`{' '.join(argv)}` failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def wait_for(find, what, seconds=15):
    end = time.monotonic() + seconds
    while not (found := find()):
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.05)
    return found


class Pod:
    """A namespace with an address, its own processes, and maybe a stub."""

    def __init__(self, mesh, name, index):
        self.mesh, self.name = mesh, name
        self.address = f"10.77.0.{10 + index}"
        self.address6 = f"fd77::{10 + index}"
        self.netns = f"{mesh.name}-{name}"
        self.processes = []
        self.stub = None
        self.log = os.path.join(mesh.folder, f"{name}.log")
        run(["ip", "netns", "add", self.netns])
        end = f"{mesh.name}{index}"
        run(["ip", "-n", mesh.netns, "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", self.netns])
        run(["ip", "-n", mesh.netns, "link", "set", end, "master", "br0", "up"])
        for line in (["address", "add", f"{self.address}/24", "dev", "eth0"],
                     ["address", "add", f"{self.address6}/64", "dev", "eth0", "nodad"],
                     ["link", "set", "lo", "up"], ["link", "set", "eth0", "up"],
                     ["route", "add", "default", "via", CONTROL]):
            run(["ip", "-n", self.netns] + line)

    def inside(self, argv):
        return ["nsenter", f"--net=/run/netns/{self.netns}", "--"] + argv

    def start(self, argv, user=None, log=None, **options):
        command = ["setpriv", "--pdeathsig", "KILL"]
        if user is not None:
            command += ["--reuid", str(user), "--regid", str(user), "--clear-groups", "--no-new-privs",
                        "--bounding-set=-all"]
        with open(log or os.devnull, "a") as out:
            process = subprocess.Popen(self.inside(command + argv), stdin=subprocess.DEVNULL,
                                       **({"stdout": out, "stderr": out} | options))
        self.processes.append(process)
        return process

    def serve(self, port, text=""):
        """A server that answers each connection with its name (or reads to the end and sends it back, with text)."""
        process = self.start([sys.executable, os.path.join(HERE, "app.py"), "serve", str(port), text or self.name])
        wait_for(lambda: f":{port} " in run(self.inside(["ss", "-Hltn"])).replace("\t", " "), f"{self.name}:{port}")
        return process

    def app(self, *arguments, user=1000, timeout=60):
        """(status, what app.py said)."""
        done = subprocess.run(
            self.inside(["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", sys.executable,
                         os.path.join(HERE, "app.py"), *map(str, arguments)]),
            capture_output=True, text=True, timeout=timeout)
        return done.returncode, (done.stdout + done.stderr).strip()

    def capture(self, *arguments):
        return run(self.inside([program("weft-stub"), "init", *arguments]))

    def start_stub(self, account=None, *arguments, certificates=None, wait=True, credentials=None):
        if credentials is None:
            folder = certificates or self.mesh.issue(account or self.name, self.name)
            credentials = ["--certificate", f"{folder}/tls.pem", "--key", f"{folder}/key.pem",
                           "--ca-file", f"{folder}/ca.pem"]
        self.stub = self.start(
            [program("weft-stub"), "run", "--pod", f"shop/{self.name}", "--pod-ip", f"{self.address},{self.address6}",
             "--host-ip", CONTROL, "--service-account", account or self.name, "--control", f"{CONTROL}:15010",
             *credentials, *arguments], user=USER, log=self.log)
        if wait:
            run(self.inside([program("weft-stub"), "wait", "--timeout", "15"]))
        return self.stub

    def status(self):
        """Of a stub that may only just have been started."""
        def ask():
            if self.stub.poll() is not None:
                with open(self.log) as log:
                    raise Failed(f"the stub of {self.name} ended ({self.stub.returncode}): {log.read()[-1500:]}")
            done = subprocess.run(
                self.inside([program("weft-stub"), "status"]), capture_output=True, text=True, timeout=10)
            return json.loads(done.stdout) if done.returncode == 0 else None
        return wait_for(ask, f"an answer of {self.name}'s stub", 20)

    def said(self, text, since=0):
        with open(self.log) as log:
            log.seek(since)
            return [line for line in log if text in line]

    def end(self, process):
        if process and process.poll() is None:
            process.kill()
            process.wait()


class Mesh:
    def __init__(self, mutual_tls="PERMISSIVE", names=("a", "b", "c"), lifetime="24h"):
        self.name = f"ws{os.getpid() % 100000}"
        self.folder = tempfile.mkdtemp(prefix="weft-stub-")
        os.chmod(self.folder, 0o755)
        self.netns = f"{self.name}-net"
        self.pods = {}
        self.control = None
        self.mutual_tls = mutual_tls
        run(["ip", "netns", "add", self.netns])
        for line in (["link", "set", "lo", "up"], ["link", "add", "br0", "type", "bridge"],
                     ["link", "set", "br0", "up"], ["address", "add", f"{CONTROL}/24", "dev", "br0"],
                     ["address", "add", "fd77::1/64", "dev", "br0", "nodad"]):
            run(["ip", "-n", self.netns] + line)
        for index, name in enumerate(names):
            self.pods[name] = Pod(self, name, index)
        os.mkdir(f"{self.folder}/config")
        self.write_base()

    def __getitem__(self, name):
        return self.pods[name]

    def write(self, name, *objects):
        path = f"{self.folder}/config/{name}.yaml"
        with open(path + ".new", "w") as file:
            file.write("\n---\n".join(json.dumps(each) for each in objects))
        os.rename(path + ".new", path)

    def write_base(self):
        self.write("mesh", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}, {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "virtual"}}, {
            "apiVersion": "weft.dev/v1alpha1", "kind": "PeerAuthentication",
            "metadata": {"name": "default", "namespace": "weft-system"}, "spec": {"mtls": {"mode": self.mutual_tls}}})

    def write_pod(self, name, meshed=True, ready=True, app="", probe=0, **metadata):
        pod = self.pods[name]
        container = {"name": "main", "image": "app", "ports": [{"containerPort": 8080}]}
        if probe:
            container["readinessProbe"] = {"httpGet": {"path": "/", "port": probe}}
        self.write(f"pod-{name}", {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop",
                         "labels": {"app": app or name, "weft.dev/mesh": "enabled" if meshed else "disabled"},
                         **metadata},
            "spec": {"nodeName": "virtual", "serviceAccountName": name, "containers": [container]},
            "status": {"phase": "Running", "podIP": pod.address,
                       "podIPs": [{"ip": pod.address}, {"ip": pod.address6}],
                       "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}})

    def write_service(self, name, address, port=80, target=8080, app=None):
        self.write(f"service-{name}", {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterIP": address, "clusterIPs": [address], "selector": {"app": app or name},
                     "ports": [{"port": port, "targetPort": target, "protocol": "TCP"}]}})

    def start_control(self, *arguments):
        log = open(f"{self.folder}/control.log", "a")
        tokens = f"{self.folder}/join-tokens"
        with open(os.open(tokens, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write("virtual 0123456789abcdef0123456789abcdef\n")
        self.control = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.netns}", "--", "setpriv", "--pdeathsig", "KILL",
             program("weft-control"), "--join-tokens", tokens, "--config", f"{self.folder}/config", "--state-dir", f"{self.folder}/state",
             *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: ":15010 " in run(
            ["ip", "netns", "exec", self.netns, "ss", "-Hltn"]).replace("\t", " "), "weft-control on 15010")

    def stop_control(self):
        if self.control and self.control.poll() is None:
            self.control.kill()
            self.control.wait()

    def issue(self, account, folder, lifetime="24h", spiffe=SPIFFE):
        """A key and a certificate for a service account, readable by the stub's user alone."""
        out = f"{self.folder}/certificates-{folder}"
        shutil.rmtree(out, ignore_errors=True)
        run([program("weft-control"), "issue", "--state-dir", f"{self.folder}/state", "--spiffe-id", spiffe + account,
             "--out", out, "--certificate-lifetime", lifetime])
        self.give(out)
        return out

    @staticmethod
    def give(folder):
        for path in [folder] + [os.path.join(folder, name) for name in os.listdir(folder)]:
            os.chown(path, USER, USER)

    def close(self):
        self.stop_control()
        for pod in self.pods.values():
            for process in pod.processes:
                pod.end(process)
        for netns in [pod.netns for pod in self.pods.values()] + [self.netns]:
            subprocess.run(["ip", "netns", "del", netns], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)
