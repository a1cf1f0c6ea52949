"""Figures that compare Weft with a bound instead of with a peer: memory, and what a killed program costs."""
import json
import os
import signal
import subprocess
import time

from common import WORK, BenchError, run
import extra_traffic
import lab as labs
import loads
import procs
import systems

PODS = 50
PROXY_MB, IDLE_KB, RECOVERY_MS = 60, 12, 300
PROBE_SECONDS, KILL_AFTER = 4, 1.5


def measure(lab, measured):
    """Rows of `name`, `value`, `unit`, `limit`, `holds`, `detail`."""
    rows = []
    for system, rounds in measured.get("idle-2000", {}).items():
        if system.startswith("weft") and rounds:
            rows.append(row(f"idle connection, {system}", rounds[0]["kb_per_connection"], "KB", IDLE_KB,
                            f"{loads.IDLE} connections; all processes of the mesh"))
    targets = {"a": ("weft-same-node", "10.96.0.101"), "b": ("weft-cross-node", "10.96.0.102")}
    for node, (name, host) in targets.items():
        system = systems.System(name, "client", host, 80, lab.mesh_pids)
        rows += killed(lab, system, f"proxy of node {node}, {name}", lab.proxy_pids(node))
        settle(lab, node)
    agent = lab.agent_pid("a")
    system = systems.System("weft-same-node", "client", targets["a"][1], 80, lab.mesh_pids)
    rows += killed(lab, system, "agent of node a, weft-same-node", [agent], harmless=True)
    run([lab.tool, "start", "agent", "--node", "a", "--name", lab.name], timeout=60)
    lab.pin()
    # After the kills: a proxy that starts with a thousand routes isn't what they measure.
    rows += extra_traffic.measure(lab)
    rows.append(many_pods())
    return rows


def row(name, value, unit, limit, detail):
    return {
        "name": name, "value": round(value, 1), "unit": unit, "limit": limit, "holds": value <= limit, "detail": detail}


def killed(lab, system, what, pids, harmless=False):
    """SIGKILL in the middle of new connections and of a keep-alive load; what the new connections saw."""
    if len(pids) != 1:
        raise BenchError(f"expected one process as the {what}, found {pids}")
    url = f"http://{system.host}:{system.port}/1k"
    keep_alive = subprocess.Popen(
        lab.inside(system.client, ["wrk", "-t1", "-c16", f"-d{PROBE_SECONDS}s", url]),
        stdout=subprocess.PIPE, text=True)
    probe = loads.client(lab, system, "probe", [PROBE_SECONDS])
    time.sleep(KILL_AFTER)
    moment = time.monotonic()
    os.kill(pids[0], signal.SIGKILL)
    attempts = json.loads(loads.finish(probe, f"the probe of {what}", PROBE_SECONDS + 20))
    keep_alive.communicate(timeout=PROBE_SECONDS + 20)
    refused = sum(result == "ConnectionRefusedError" for _, _, result in attempts)
    after = [end - moment for start, end, result in attempts if start >= moment and result == "ok"]
    lost = sum(result != "ok" for start, _, result in attempts if start < moment)
    failed = sum(result != "ok" for start, _, result in attempts if start >= moment)
    if not after:
        raise BenchError(f"no connection was served in {PROBE_SECONDS - KILL_AFTER:.1f} s after SIGKILL of the {what}")
    detail = f"of {len(attempts)} attempts; cut while open: {lost}, failed after the kill: {failed}"
    rows = [row(f"refused after SIGKILL, {what}", refused, "connections", 0, detail)]
    if harmless:
        return rows + [row(f"failed after SIGKILL, {what}", lost + failed, "connections", 0, detail)]
    slowest = max(end - start for start, end, _ in attempts if end > moment)
    return rows + [row(f"served again after SIGKILL, {what}", min(after) * 1000, "ms", RECOVERY_MS,
                       f"the slowest attempt took {slowest * 1000:.0f} ms")]


def settle(lab, node):
    """Until the restarted proxy is there and pinned."""
    run([lab.tool, "start", "proxy", "--node", node, "--name", lab.name], timeout=60)
    lab.pin()


def many_pods():
    """The proxy's resident memory with 50 pods enrolled on its node."""
    folder = os.path.join(WORK, "lab-pods")
    os.makedirs(folder, exist_ok=True)
    objects = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}]
    for number in range(PODS):
        objects.append({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": f"pod-{number}", "labels": {"weft.dev/mesh": "enabled"}},
            "spec": {"nodeName": "a", "serviceAccountName": f"account-{number}",
                     "containers": [{"name": "main", "command": ["sleep", "infinity"]}]}})
    with open(os.path.join(folder, "pods.yaml"), "w") as file:
        # JSON is YAML, one document each.
        file.write("\n---\n".join(json.dumps(thing) for thing in objects) + "\n")
    lab = labs.Lab("bench50", folder)
    lab.up()
    try:
        time.sleep(2)
        resident = procs.resident_kb(lab.proxy_pids("a")) / 1024
        everything = procs.resident_kb(lab.mesh_pids()) / 1024
    finally:
        lab.down()
    return row(f"proxy resident with {PODS} pods enrolled", resident, "MB", PROXY_MB,
               f"proxy, agent and control plane together {everything:.0f} MB")
