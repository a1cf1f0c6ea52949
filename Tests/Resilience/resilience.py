#!/usr/bin/env python3
"""What outlives what, what leaves nothing behind, and who is let in: on a running mesh, each line checked.

Usage: resilience.py; needs root and the programs in $BIN. Status 1 if a line failed.
"""
import os, subprocess, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../demo"))
import lab
from checks import STEADY, cgroup_root, enrolled, fetch
from lab import Failed, expect, run, wait_for

# MiB. What an allocator keeps is less; 9 KiB lost by each of 700 enrolments are more.
MEMORY_SLACK = 6
STRICT = """apiVersion: weft.dev/v1alpha1
kind: PeerAuthentication
metadata:
  name: default
  namespace: weft-system
spec:
  mtls:
    mode: %s
"""
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels:\n    weft.dev/mesh: %s\n"
HOLD = """
import socket, sys, time
s = socket.create_connection((sys.argv[1], 7000), 5)
s.sendall(b"x"); s.recv(500)
end = time.monotonic() + float(sys.argv[2])
n = 0
while time.monotonic() < end:
    s.sendall(b"ping\\n"); assert s.recv(100) == b"ping\\n"; n += 1
    time.sleep(0.05)
print(n)
"""


def proxy_pid(mesh, node):
    return mesh.weft(node, "status")["proxy"]["pid"]


def steady(mesh, seconds, target="echo-near"):
    return mesh.popen("client", "python3", "-c", STEADY, mesh.address(target), "7000", str(seconds))


def unharmed(load, least):
    out, err = load.communicate(timeout=60)
    expect(load.returncode == 0, f"the load failed: {err[-200:]}")
    good, broken, refused, _ = map(int, out.split())
    expect(good >= least and broken == 0 and refused == 0, f"{good} served, {broken} broken, {refused} refused")
    return good


def everyone(mesh):
    wait_for("every pod to be enrolled", lambda: enrolled(mesh) == 7, 20)


def privileges(mesh):
    with open(f"/proc/{proxy_pid(mesh, 'a')}/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    expect(status["Uid"].split() == ["61337"] * 4, f"uid {status['Uid']}")
    for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
        expect(int(status[name], 16) == 0, f"{name} is {status[name]}")
    expect(status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", "new privileges or all system calls are allowed")


def strict(mesh):
    address = mesh.address("reviews")
    plain = lambda: mesh.exec("stranger", "curl", "-sS", "--max-time", "10", f"http://{address}:8000/", namespace="street", check=False)
    expect(plain().returncode == 0, "PERMISSIVE refuses plaintext")
    mesh.apply(STRICT % "STRICT")
    wait_for("plaintext to be refused", lambda: plain().returncode != 0, 5)
    fetch(mesh, f"{address}:8000")
    mesh.apply(STRICT % "PERMISSIVE")
    wait_for("plaintext to be accepted again", lambda: plain().returncode == 0, 5)


# Each of these by new connections and questions: to the other node, to an address outside the mesh, to its names.
NEW = r"""
import socket, sys
far, outside = sys.argv[1:3]
def ask(address, port):
    with socket.create_connection((address, port), 3) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert s.recv(100)
for _ in range(40):
    ask(far, 8000)
    ask(outside, 8099)
    # Over UDP, for A and AAAA.
    assert socket.getaddrinfo("web", 80)
"""


def agent_killed(mesh):
    before = proxy_pid(mesh, "a")
    held = mesh.popen("client", "python3", "-c", HOLD, mesh.address("echo"), "12")
    outside = mesh.popen("stranger", "python3", "-m", "http.server", "8099", namespace="street")
    try:
        time.sleep(0.5)
        mesh.signal("kill", "agent", "a")
        unharmed(steady(mesh, 2), 20)
        mesh.exec("client", "python3", "-c", NEW, mesh.address("reviews"), mesh.address("stranger", "street"))
    finally:
        outside.kill()
        outside.wait()
    load = steady(mesh, 4)
    time.sleep(0.5)
    mesh.signal("start", "agent", "a")
    unharmed(load, 20)
    everyone(mesh)
    expect(proxy_pid(mesh, "a") == before, "the next agent started another proxy")
    expect(held.wait(20) == 0, "a connection that was there broke")


def snapshot(mesh):
    mesh.signal("stop", "control")
    try:
        mesh.signal("kill", "agent", "a")
        mesh.signal("kill", "proxy", "a")
        mesh.signal("start", "agent", "a")
        wait_for("pods from the snapshot", lambda: mesh.weft("a", "status")["pods"]["enrolled"] == 3, 15)
        status = mesh.weft("a", "status")
        expect(status["snapshot"]["restored"] and not status["control"]["connected"], "not from the snapshot")
        fetch(mesh, f"{mesh.address('reviews')}:8000")
        fetch(mesh, "web")
    finally:
        mesh.signal("start", "control")
    wait_for("the agent to connect again", lambda: mesh.weft("a", "status")["control"]["connected"], 15)


def outlive(mesh):
    """A connection that goes on for longer than the certificates do that it was made with (60 s)."""
    if not hasattr(mesh, "outliving"):
        ends = [i["not_after"] for n in "ab" for i in mesh.weft(n, "identity")["identities"]]
        mesh.outliving = mesh.popen("client", "python3", "-c", HOLD, mesh.address("echo"), "75"), max(ends)
    return mesh.outliving


def rotation(mesh):
    serials = lambda: {i["spiffe_id"]: i["serial"] for i in mesh.weft("a", "identity")["identities"]}
    before = serials()
    held, end = outlive(mesh)
    wait_for("every certificate to be renewed", lambda: all(serials()[i] != s for i, s in before.items()), 60)
    fetch(mesh, f"{mesh.address('reviews')}:8000")
    expect(held.wait(80) == 0, "a connection broke by the renewal, or by the end of the certificates that it began with")
    expect(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) > end, f"the certificates from before hold until {end}")


def fill(mesh, node):
    counts = {m["name"]: m["entries"] for m in mesh.weft(node, "bpf")["maps"] if m.get("entries") is not None}
    expect(counts, "no map tells its fill")
    return counts


def processes(mesh, node):
    with open(f"{cgroup_root()}/weft-lab/{mesh.name}/{node}/agent/cgroup.procs") as file:
        return proxy_pid(mesh, node), int(file.readline())


def descriptors(mesh, node):
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in processes(mesh, node)]


def memory(mesh, node):
    """What is resident of the proxy and of the agent, in MiB."""
    def resident(pid):
        with open(f"/proc/{pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:")) / 1024
    return [resident(pid) for pid in processes(mesh, node)]


def cycle(mesh):
    mesh.apply(NAMESPACE % "disabled")
    wait_for("every pod to be released", lambda: enrolled(mesh) == 0, 10)
    mesh.apply(NAMESPACE % "enabled")
    everyone(mesh)


def cycles(mesh):
    rounds = int(os.environ.get("WEFT_CYCLES", "100"))
    everyone(mesh)
    # What is made once is there after that, also what the allocator keeps.
    cycle(mesh)
    cycle(mesh)
    time.sleep(1)
    before = {n: (fill(mesh, n), descriptors(mesh, n), memory(mesh, n)) for n in "ab"}
    for _ in range(rounds):
        cycle(mesh)
    time.sleep(1)
    for node, (maps, (proxy, agent), resident) in before.items():
        expect(fill(mesh, node) == maps, f"node {node}: map entries {maps} became {fill(mesh, node)}")
        for was, is_now, what in zip(resident, memory(mesh, node), ("proxy", "agent")):
            print(f"  node {node}: resident of the {what}: {was:.1f} MiB, then {is_now:.1f}", flush=True)
            expect(is_now < was + MEMORY_SLACK, f"node {node}: the {what} grew from {was:.1f} to {is_now:.1f} MiB")
        now = descriptors(mesh, node)
        expect(now[1] <= agent + 8, f"node {node}: the agent's descriptors went from {agent} to {now[1]}")
        expect(now[0] <= proxy + 64, f"node {node}: the proxy's descriptors went from {proxy} to {now[0]}")
    fetch(mesh, f"{mesh.address('reviews')}:8000")


NEWCOMER = """apiVersion: v1
kind: ServiceAccount
metadata: {name: newcomer, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: newcomer, namespace: shop}
spec:
  nodeName: a
  serviceAccountName: newcomer
  containers: [{name: main, command: [sleep, infinity]}]
"""


def fill_up(folder):
    run(["mount", "-t", "tmpfs", "-o", "size=4k,mode=700", "tmpfs", folder])
    file = os.open(folder + "/fill", os.O_CREAT | os.O_WRONLY)
    try:
        os.write(file, b"x" * 8192)
    except OSError:
        pass
    finally:
        os.close(file)


def full_disk(mesh):
    outlive(mesh)
    folders = [f"{mesh.folder}/nodes/a/state/{name}" for name in ("snapshot", "identities")]
    try:
        for folder in folders:
            fill_up(folder)
        mesh.apply("apiVersion: v1\nkind: Service\nmetadata:\n  name: late\n  namespace: shop\nspec:\n  selector:\n    app: web\n  ports:\n    - port: 81\n      targetPort: 8080\n")
        problem = lambda: any(not c["ok"] and "snapshot" in c["name"] for c in mesh.weft("a", "check")["checks"])
        wait_for("weft check to tell of the full disk", problem, 10)
        fetch(mesh, "late:81")
        # A pod with an identity that was never there: its certificate can't be kept, and serves all the same.
        mesh.apply(NEWCOMER)
        wait_for("the new pod to be enrolled", lambda: enrolled(mesh) == 8, 20)
        said = mesh.exec("newcomer", "curl", "-sS", "--fail", "--max-time", "5", "http://late:81/", check=False)
        expect(said.returncode == 0, f"the new pod's request: {said.stderr}")
        problem = lambda: any(not c["ok"] and "identities" in c["name"] for c in mesh.weft("a", "check")["checks"])
        wait_for("weft check to tell of the certificate that isn't kept", problem, 10)
    finally:
        for folder in folders:
            run(["umount", folder], check=False)
        mesh._lab("delete", "pod/newcomer", "-n", "shop", check=False)
    wait_for("the new pod to be gone", lambda: enrolled(mesh) == 7, 20)


# The connection that full_disk begins outlives the cycles, and rotation waits for its end.
CHECKS = [privileges, strict, agent_killed, snapshot, full_disk, cycles, rotation]


def main():
    mesh = lab.Lab("e2eres")
    failed = 0
    try:
        mesh.up(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../demo/mesh"), "--certificate-lifetime", "60s")
        mesh.apply(NAMESPACE % "enabled")
        everyone(mesh)
        for check in [c for c in CHECKS if not sys.argv[1:] or c.__name__ in sys.argv[1:]]:
            started = time.monotonic()
            try:
                check(mesh)
                result = "ok  "
            except (Failed, subprocess.SubprocessError, KeyError, OSError) as failure:
                result, failed = f"FAIL {failure!r}", failed + 1
            print(f"{check.__name__}: {result} ({time.monotonic() - started:.1f} s)", flush=True)
    finally:
        mesh.down()
    return 1 if failed else 0


sys.exit(main())
