#!/usr/bin/env python3
"""The tunnel stub on a real kernel, with real sockets, certificates and a real weft-control. Each line is checked.

Usage: test_stub.py [PART]; needs root, and weft-stub and weft-control in $BIN (.build/debug).
"""
import json
import os
import signal
import subprocess
import sys
import time

import pods
from pods import CONTROL, Failed, Mesh, program, run, wait_for

VIP, MANY, SEND = "10.96.0.10", "10.96.0.20", 20 << 20
# Forty connections to a stub's health port that ask nothing.
IDLE = """
import socket, sys, time
crowd = [socket.create_connection((sys.argv[1], 15021)) for _ in range(40)]
print("open", flush=True)
time.sleep(30)
"""


def check(line, holds, detail=""):
    print(f"{'ok  ' if holds else 'FAIL'}  {line}{': ' + str(detail) if detail else ''}", flush=True)
    if not holds:
        raise Failed(line)


def started(**options):
    """Pods a and b meshed, c outside; Services `web` (b) and nothing else; captured, stubs not started."""
    mesh = Mesh(**options)
    for name in "ab":
        mesh.write_pod(name)
    mesh.write_pod("c", meshed=False)
    mesh.write_service("web", VIP, app="b")
    mesh.start_control()
    for name in "ab":
        mesh[name].capture()
    return mesh


def both(mesh):
    mesh["a"].start_stub()
    mesh["b"].start_stub()
    mesh["b"].serve(8080)
    mesh["c"].serve(8080)


class Sniffer:
    """TCP packets to or from a port that leave or enter a pod."""

    def __init__(self, pod, expression):
        self.process = subprocess.Popen(
            pod.inside(["tcpdump", "-i", "eth0", "-n", "-l", "--immediate-mode", expression]), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while "listening on" not in self.process.stderr.readline():
            pass

    def lines(self):
        time.sleep(1.5)
        self.process.send_signal(signal.SIGINT)
        return [line for line in self.process.communicate(timeout=20)[0].splitlines() if line]


def traffic():
    mesh = started()
    try:
        a, b, c = (mesh[name] for name in "abc")
        status, said = a.app("ask", VIP, 80, timeout=20)
        check("captured without a stub: refused, not in plaintext", status != 0 and "refused" in said, said)
        failed = subprocess.run(a.inside([program("weft-stub"), "wait", "--timeout", "1"]), capture_output=True)
        check("wait fails while there is no stub", failed.returncode == 1, failed.stderr.decode().strip())
        both(mesh)
        check("wait returns as soon as certificate and mesh are there", a.status()["ready"])
        sniffer = Sniffer(a, "tcp port 8080 or tcp port 80")
        for what, host, port in (("a Service's address", VIP, 80), ("a pod's address", b.address, 8080),
                                 ("a pod's IPv6 address", b.address6, 8080)):
            status, said = a.app("ask", host, port)
            check(f"{what} is reached in HBONE", status == 0 and said.startswith("b "), said)
        status, said = a.app("send", VIP, 80, SEND)
        check("20 MiB there and back, ended by half-close", status == 0, said)
        lines = sniffer.lines()
        check("not one packet of it in plaintext", not lines, lines[:2])
        check("all of it in one tunnel each family", a.status()["connections"]["tunnels_outbound"] == 2)
        status, said = a.app("ask", c.address, 8080)
        check("a pod outside the mesh is reached directly", status == 0 and said.startswith("c "), said)
        status, said = c.app("ask", b.address, 8080)
        check("PERMISSIVE: plaintext from outside enters", status == 0 and said.startswith("b "), said)
        status, said = a.app("ask", VIP, 81)
        check("a port that the Service lacks is reset", status != 0 and "reset" in said.lower(), said)
        status, said = b.app("ask", VIP, 80)
        check("a pod reaches itself through its Service", status == 0 and said.startswith("b "), said)
        for port in (15001, 15006):
            status, said = c.app("ask", b.address, port)
            check(f"port {port} itself, dialled from outside, is refused", status != 0, said)
        several = [a.start([sys.executable, os.path.join(pods.HERE, "app.py"), "send", VIP, "80", "300000"], user=1000)
                   for _ in range(40)]
        check("forty streams at once", all(process.wait(60) == 0 for process in several))
        status, said = a.app("slow", VIP, 80, 200 << 20, timeout=60)
        check("an application that doesn't read stops its peer: buffers are bounded",
              status == 0 and int(said) < 64 << 20, f"{int(said) >> 10} KiB fit in between")
        check("and the stub's memory with it", a.status()["resident_bytes"] < 40 << 20)
        wait_for(lambda: not a.status()["connections"]["outbound"] and not b.status()["connections"]["inbound"],
                 "no connection is left")
        print("ok    no connection is left behind")
    finally:
        mesh.close()


def endpoints():
    mesh = Mesh(names=("a", "b", "c", "d"))
    try:
        mesh.write_pod("a")
        for name in "bcd":
            mesh.write_pod(name, app="many")
        mesh.write_service("many", MANY, app="many")
        mesh.start_control()
        for name in "abcd":
            mesh[name].capture()
            mesh[name].start_stub()
        for name in "bcd":
            mesh[name].serve(8080)
        a = mesh["a"]

        def seen(count=30):
            return {a.app("ask", MANY, 80)[1].split(" ")[0] for _ in range(count)}
        check("all three endpoints take connections", seen() == {"b", "c", "d"})
        mesh.write_pod("d", app="many", ready=False)
        wait_for(lambda: "d" not in seen(6), "an unready endpoint gets nothing")
        check("an unready endpoint gets no connection", seen() == {"b", "c"})
        c = mesh["c"]
        c.end(c.stub)
        check("one whose stub has died is tried elsewhere", seen(12) == {"b"})
        before = a.status()["connections"]["failed"]
        check("and no connection failed by it", before == 0, before)
        held = a.start([sys.executable, os.path.join(pods.HERE, "app.py"), "hold", mesh["b"].address, "8080", "20"],
                       user=1000, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        held.stdout.readline()
        mesh["b"].end(mesh["b"].stub)
        said = held.communicate(timeout=10)[1].strip()
        check("a peer that is killed in the middle of a stream resets it", held.returncode != 0 and "reset" in said, said)
        status, said = a.app("ask", MANY, 80)
        check("no endpoint left: reset", status != 0, said)
        mesh["b"].start_stub()
        check("a stub that came back is used again", seen(4) == {"b"})
    finally:
        mesh.close()


def strict():
    mesh = started(mutual_tls="STRICT")
    try:
        a, b, c = (mesh[name] for name in "abc")
        mesh.write_pod("b", probe=8081)
        both(mesh)
        b.serve(8081)
        check("the mode is known", b.status()["mutual_tls"] == "STRICT")
        status, said = c.app("ask", b.address, 8080)
        check("STRICT: plaintext is refused", status != 0 and "reset" in said.lower(), said)
        status, said = a.app("ask", VIP, 80)
        check("and tunnels pass", status == 0, said)
        ask = ["ip", "netns", "exec", mesh.netns, sys.executable, os.path.join(pods.HERE, "app.py"), "ask", b.address]
        wait_for(lambda: subprocess.run(ask + ["8081"], capture_output=True).returncode == 0, "the probe's port")
        check("a probe from the node's address to a probe's port passes", True)
        check("and to another port doesn't", subprocess.run(ask + ["8080"], capture_output=True).returncode != 0)
        status, said = c.app("ask", b.address, 8081)
        check("nor does another's to the probe's port", status != 0, said)
        check("a refusal is logged with its reason", bool(b.said("mutual TLS is STRICT")))
    finally:
        mesh.close()


def identity():
    mesh = started()
    try:
        a, b = mesh["a"], mesh["b"]
        a.start_stub()
        b.serve(8080)
        short = mesh.issue("b", "short", lifetime="60s")
        b.start_stub(certificates=short)
        status, said = a.app("ask", VIP, 80)
        check("the right certificate is accepted", status == 0, said)
        # Somebody else's certificate, under b's address: an Envoy or a stub of another account would show it.
        b.end(b.stub)
        imposter = mesh.issue("c", "imposter")
        b.stub = b.start([program("weft-stub"), "run", "--pod", "shop/b", "--pod-ip", f"{b.address},{b.address6}",
                          "--service-account", "c", "--control", f"{CONTROL}:15010", "--certificate",
                          f"{imposter}/tls.pem", "--key", f"{imposter}/key.pem", "--ca-file", f"{imposter}/ca.pem"],
                         user=pods.USER, log=b.log)
        run(b.inside([program("weft-stub"), "wait"]))
        status, said = a.app("ask", VIP, 80)
        check("a peer with another workload's certificate gets nothing",
              status != 0 and a.said("and its certificate says spiffe://cluster.local/ns/shop/sa/c"), said)
        status, said = b.app("ask", a.address, 8080)
        check("and as a client it is refused", status != 0 and a.said("and its client showed"), said)
        b.end(b.stub)
        b.start_stub(certificates=mesh.issue("a", "other"), wait=False)
        wait_for(lambda: b.said("not of spiffe://cluster.local/ns/shop/sa/b"), "a file's certificate of another account")
        check("a certificate that isn't its own is not used", not b.status()["ready"], b.status()["certificate_error"])
        b.end(b.stub)
        expired = mesh.issue("b", "expired", lifetime="60s")
        other = Mesh.__new__(Mesh)
        other.folder = mesh.folder + "/other"
        os.mkdir(other.folder)
        run(["cp", "-r", f"{mesh.folder}/config", other.folder])
        stranger = foreign_certificates(mesh)
        b.start_stub(certificates=stranger, wait=False)
        wait_for(lambda: b.status()["certificate_expires"], "its certificate")
        status, said = a.app("ask", VIP, 80)
        check("a certificate of another CA is refused by a peer",
              status != 0 and a.said("certificate is refused"), said)
        check("and by the control plane, which it says", wait_for(lambda: b.status()["control"]["error"], "an error"),
              b.status()["control"]["error"])
        b.end(b.stub)
        b.start_stub(certificates=expired, wait=False)
        wait_for(lambda: b.status()["ready"], "ready")
        time.sleep(max(0, os.path.getmtime(f"{expired}/tls.pem") + 62 - time.time()))
        for pod in (a,):
            status, said = pod.app("ask", VIP, 80)
        check("an expired certificate is refused", status != 0 and a.said("expired"), said)
        renewed = mesh.issue("b", "renewed")
        for name in ("key.pem", "tls.pem"):
            os.rename(f"{renewed}/{name}", f"{expired}/{name}")
        wait_for(lambda: a.app("ask", VIP, 80)[0] == 0, "a renewed file is taken by itself")
        check("a renewed file is taken by itself", True, b.status()["certificate_expires"])
    finally:
        mesh.close()


def foreign_certificates(mesh):
    """A certificate with b's SPIFFE ID, signed by a CA that the mesh doesn't know."""
    state = f"{mesh.folder}/foreign-state"
    log = open(f"{mesh.folder}/foreign.log", "w")
    tokens = f"{mesh.folder}/join-tokens"
    process = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{mesh.netns}", "--", program("weft-control"), "--config",
         f"{mesh.folder}/config", "--state-dir", state, "--join-tokens", tokens, "--discovery-port", "16010",
         "--join-port", "16012"], stdout=log, stderr=log)
    try:
        wait_for(lambda: all(os.path.exists(f"{state}/ca.{kind}") for kind in ("pem", "key")), "another CA")
        out = f"{mesh.folder}/certificates-foreign"
        run([program("weft-control"), "issue", "--state-dir", state, "--spiffe-id", pods.SPIFFE + "b", "--out", out])
    finally:
        process.kill()
        process.wait()
    # It trusts the mesh's CA, and shows another's.
    run(["cp", f"{mesh.folder}/certificates-short/ca.pem", f"{out}/ca.pem"])
    mesh.give(out)
    return out


def control():
    mesh = started()
    try:
        a, b = mesh["a"], mesh["b"]
        both(mesh)
        check("connected", a.status()["control"]["connected"])
        mesh.stop_control()
        wait_for(lambda: not a.status()["control"]["connected"], "it notices")
        check("the control plane is gone: the stub says so and stays ready",
              a.status()["ready"], a.status()["control"]["error"])
        status, said = a.app("ask", VIP, 80)
        check("and serves from what it knew last", status == 0, said)
        mesh.write_service("late", "10.96.0.30", app="b")
        mesh.start_control()
        wait_for(lambda: a.status()["control"]["connected"], "it connects again", 40)
        wait_for(lambda: a.app("ask", "10.96.0.30", 80)[0] == 0, "and gets what changed meanwhile")
        check("the control plane is back: what changed meanwhile is in force", True)
        os.remove(f"{mesh.folder}/config/service-late.yaml")
        wait_for(lambda: a.status()["control"]["services"] == 1, "a removal")
        check("a removal arrives", True)
        a.end(a.stub)
        mesh.stop_control()
        a.start_stub(wait=False)
        wait_for(lambda: a.status(), "it runs")
        status, said = a.app("ask", VIP, 80)
        check("without ever having heard of the mesh it isn't ready", not a.status()["ready"], a.status()["reason"])
        status, said = a.app("ask", b.address, 8080)
        check("and nothing leaves: it can't know what must not leave in plaintext", status != 0, said)
    finally:
        mesh.close()


def life():
    mesh = started()
    try:
        a, b, c = (mesh[name] for name in "abc")
        both(mesh)
        ready = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:15021/healthz/ready"]
        crowd = c.start([sys.executable, "-c", IDLE, a.address], user=1000, stdout=subprocess.PIPE, text=True)
        is_there = crowd.stdout.readline().strip() == "open"
        asked = subprocess.run(a.inside([program("weft-stub"), "status"]), capture_output=True, text=True)
        check("forty idle connections to the health port keep nobody from the local socket",
              is_there and asked.returncode == 0 and json.loads(asked.stdout)["ready"], asked.stderr.strip())
        check("nor a probe from the port", run(a.inside(ready)) == "200")
        c.end(crowd)
        hold = [sys.executable, os.path.join(pods.HERE, "app.py"), "hold", VIP, "80"]
        held = a.start(hold + ["10"], user=1000, stdout=subprocess.PIPE, text=True)
        held.stdout.readline()
        for stub in (a.stub, b.stub):
            stub.terminate()
        check("SIGTERM: not ready any more", wait_for(lambda: run(a.inside(ready)) == "503", "the stub's refusal"))
        check("a connection that is open goes on until it ends", held.communicate(timeout=30)[0].strip() == "alive")
        check("and then the stubs end by themselves", a.stub.wait(20) == 0 and b.stub.wait(20) == 0)
        a.start_stub()
        b.start_stub(None, "--linger-seconds", "12")
        b.stub.terminate()
        time.sleep(2.5)
        status, said = a.app("ask", VIP, 80)
        check("with --linger-seconds it serves on where nothing was open", status == 0, said)
        check("and ends then", b.stub.wait(40) == 0)
        a.stub.terminate()
        a.stub.wait(10)
        a.start_stub(None, "--drain-seconds", "1")
        b.start_stub()
        held = a.start(hold + ["40"], user=1000, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        held.stdout.readline()
        said = run(a.inside([program("weft-stub"), "quit"]))
        check("quit ends it, at the latest after --drain-seconds", a.stub.wait(20) == 0, said.strip())
        held.communicate(timeout=10)
        a.start_stub(None, "--connections", "16")
        holds = [a.start(hold + ["20"], user=1000, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                 for _ in range(20)]
        outcomes = [process.communicate(timeout=60)[0].split() for process in holds]
        check("more connections than --connections allows are refused, and no others",
              sum("alive" in each for each in outcomes) == 16, sum("alive" in each for each in outcomes))
        a.capture()
        status, said = a.app("ask", VIP, 80)
        check("init twice is as good as once", status == 0, said)
        a.capture("--exclude-outbound-ports", "8080,443", "--exclude-cidrs", "192.0.2.0/24,2001:db8::/32")
        sniffer = Sniffer(a, "tcp port 8080")
        status, said = a.app("ask", c.address, 8080)
        source = said.rsplit(":", 1)[-1]
        check("an excluded port goes directly", status == 0 and bool(sniffer.lines()), source)
        a.capture("--remove")
        check("init --remove leaves no rule", "weft_stub" not in run(a.inside(["nft", "list", "ruleset"])))
        wrong = subprocess.run([program("weft-stub"), "init", "--exclude-cidrs", "10.0.0.0/40"], capture_output=True)
        check("a command line that can't be used: exit code 2, and why", wrong.returncode == 2, wrong.stderr.decode())
        captured = subprocess.run(
            a.inside(["setpriv", "--reuid", "1000", "--clear-groups", "--regid", "1000", program("weft-stub"), "init"]),
            capture_output=True)
        check("init without NET_ADMIN: exit code 1, and why", captured.returncode == 1, captured.stderr.decode().strip())
        other = subprocess.run(
            a.inside(["setpriv", "--reuid", "1000", "--clear-groups", "--regid", "1000", program("weft-stub"),
                      "status"]), capture_output=True)
        check("another user gets no status", other.returncode == 1)
    finally:
        mesh.close()


def job():
    """In a process namespace of the pod's own, as with shareProcessNamespace; bash stands for the pause container."""
    mesh = started()
    try:
        a = mesh["a"]
        mesh["b"].start_stub()
        mesh["b"].serve(8080)
        folder = mesh.issue("a", "a")
        stub = (f"setpriv --reuid {pods.USER} --regid {pods.USER} --clear-groups {program('weft-stub')} run --pod shop/a "
                f"--pod-ip {a.address},{a.address6} --host-ip {CONTROL} --service-account a --control {CONTROL}:15010 "
                f"--certificate {folder}/tls.pem --key {folder}/key.pem --ca-file {folder}/ca.pem --end-with-application")
        application = f"setpriv --reuid 1000 --regid 1000 --clear-groups {sys.executable} {pods.HERE}/app.py ask {VIP} 80"
        # Between the stub's start and the application's, an image may have to be pulled: no process is there then.
        script = (f"mkfifo {mesh.folder}/never; exec 9<>{mesh.folder}/never; {stub} & stub=$!; {program('weft-stub')} wait --timeout 15; "
                  f"read -t 6 <&9; kill -0 $stub && echo there; {application} && echo answered; "
                  f"read -t 1 <&9; kill -0 $stub && echo patient; wait $stub; echo ended $?")
        done = subprocess.run(a.inside(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c", script]),
                              capture_output=True, text=True, timeout=60)
        said = done.stdout.split()
        check("the stub waits for its application to begin, however long that takes", "there" in said, done.stdout + done.stderr[-600:])
        check("the application reaches the mesh", "answered" in said, done.stderr[-600:])
        check("and its end is the stub's", said[-2:] == ["ended", "0"], said)
    finally:
        mesh.close()


def iptables():
    """For kernels without nf_tables."""
    mesh = started()
    try:
        a, b, c = (mesh[name] for name in "abc")
        for pod in (a, b):
            pod.capture("--remove")
            pod.capture("--backend", "iptables")
            pod.capture("--backend", "iptables")
        both(mesh)
        status, said = a.app("ask", VIP, 80)
        check("captured by iptables, init twice", status == 0, said)
        # Of the two alone: the stub asks weft-control meanwhile.
        sniffer = Sniffer(b, f"tcp and (host {a.address} or host {a.address6})")
        for address in (b.address, f"{b.address6}"):
            status, said = a.app("ask", address, 8080)
            check(f"to {address}", status == 0, said)
        packets = sniffer.lines()
        check("all of it by the tunnel's port", packets and all(".15008" in line for line in packets), packets[:3])
        status, said = c.app("ask", b.address, 8080)
        check("from outside of the mesh", status == 0, said)
        a.capture("--backend", "iptables", "--exclude-outbound-ports", "8080")
        sniffer = Sniffer(a, "tcp port 8080")
        status, said = a.app("ask", c.address, 8080)
        check("an excluded port goes directly", status == 0 and bool(sniffer.lines()), said)
        a.capture("--backend", "iptables", "--remove")
        left = run(a.inside(["iptables-legacy-save"])) + run(a.inside(["ip6tables-legacy-save"]))
        check("init --remove leaves no rule", "WEFT" not in left.upper(), left)
    finally:
        mesh.close()


PARTS = [traffic, endpoints, strict, identity, control, life, job, iptables]


def main():
    if os.geteuid() != 0:
        sys.exit("test_stub: making namespaces needs root")
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for part in PARTS:
        if len(sys.argv) > 1 and part.__name__ not in sys.argv[1:]:
            continue
        print(f"{part.__name__}:", flush=True)
        try:
            part()
        except (Failed, subprocess.TimeoutExpired) as error:
            sys.exit(f"test_stub: {part.__name__}: {error}")
    print("the stub holds")


if __name__ == "__main__":
    main()
