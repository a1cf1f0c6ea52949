#!/usr/bin/env python3
"""Agents without SYS_ADMIN and SYS_PTRACE, which enter no pod, on a real API server with the lab's nodes: pods whose stubs open
their sockets are in the mesh, others are told what they lack.

Usage: test_unprivileged.py PATH-TO-weft-control, with the other programs beside it.
"""
import os, subprocess, sys, unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
os.environ["BIN"] = os.path.dirname(os.path.abspath(sys.argv.pop(1))) if len(sys.argv) > 1 else os.path.join(ROOT, ".build/debug")
sys.path[:0] = [os.path.join(ROOT, "benchmarks/scale"), os.path.join(ROOT, "demo")]
import kubernetes, rollouts
from lab import wait_for

SYS_ADMIN, SYS_PTRACE = 1 << 21, 1 << 19
REQUESTS = 3000


def cgroup2():
    with open("/proc/mounts") as mounts:
        return next(fields for fields in map(str.split, mounts) if fields[2] == "cgroup2")


class Unprivileged(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cluster = cls.cluster = kubernetes.Cluster.of(cls, "unpriv")
        cluster.weft_cli("install", "--overlay", "small", "--set", "agent.entersPods=false", timeout=180)
        cluster.kubectl("apply", "-f", f"{kubernetes.FILES}/shop.yaml")
        cluster.kubectl("label", "namespace", "shop", "weft.dev/mesh=enabled", "weft.dev/mode=stub")
        cluster.kubectl("annotate", "namespace", "shop", "weft.dev/stub=handoff")
        for name in ("web", "web-v2", "client"):
            cluster.kubectl("rollout", "restart", "-n", "shop", f"deployment/{name}")
        kubernetes.shop_runs(cluster)

    def here(self):
        return [entry for answer in self.cluster.answers("workloads") for entry in answer["workloads"] if entry["local"]]

    def agents(self):
        """The processes of the agents, by the Pods that they run in."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline") as file:
                    words = file.read().split("\0")
            except OSError:
                continue
            if words[0].endswith("weft-agent") and "--cgroup-pods" in words and f"/{self.cluster.name}/" in self.cgroup(pid):
                found.append(pid)
        return found

    def cgroup(self, pid):
        with open(f"/proc/{pid}/cgroup") as file:
            return next(line[3:].strip() for line in file if line.startswith("0::"))

    def all_are_enrolled(self):
        wait_for("four pods to be enrolled through their stubs", lambda: sum(
            entry["state"] == "enrolled" and "its stub opens its sockets" in entry["reason"] for entry in self.here()) == 4, 30)

    def test_1_pods_with_a_stub_are_in_the_mesh_of_an_agent_without_privileges(self):
        self.all_are_enrolled()
        agents = self.agents()
        self.assertEqual(len(agents), 2)
        for pid in agents:
            with open(f"/proc/{pid}/status") as file:
                effective = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
            self.assertFalse(effective & (SYS_ADMIN | SYS_PTRACE), f"{effective:x}")
        names, good = self.cluster.names(self.cluster.pod("client"))
        self.assertEqual(good, 40, names)
        said = self.cluster.weft_cli("check", "-A", check=False).stdout
        self.assertFalse([line for line in said.splitlines() if line.startswith("✗")], said)
        self.assertTrue(any(line.startswith("✓") for line in said.splitlines()), said)
        node = self.cluster.kubectl("get", "pods", "-n", "weft-system", "-l", "app.kubernetes.io/name=weft-agent", "-o", "jsonpath={.items[0].metadata.name}")
        said = self.cluster.kubectl("exec", "-n", "weft-system", node, "--", "/weft-agent", "admin", "/v1/check")
        self.assertIn("only those whose stub opens their sockets are served", said)

    def test_2_a_pod_without_a_stub_is_held_and_told_what_it_lacks(self):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": "shop", "labels": {"weft.dev/mode": "node"}},
            "spec": {"serviceAccountName": "client", "terminationGracePeriodSeconds": 1, "restartPolicy": "Never", "containers": [
                {"name": "main", "image": "example.org/client", "command": ["sh", "-c", "curl -sS --max-time 3 http://web/; sleep 60"]}]}}
        self.cluster.apply_objects(pod)
        self.addCleanup(lambda: self.cluster.kubectl("delete", "pod", "-n", "shop", "bare", timeout=60))
        def reason():
            return next((entry["reason"] for entry in self.here() if entry["name"] == "bare"), "")
        wait_for("weft workloads to say what it lacks", lambda: "it needs a stub" in reason(), 20)
        wait_for("its request to be refused", lambda: "curl: (" in self.cluster.kubectl("logs", "-n", "shop", "bare"), 20)
        wait_for("the Event of it", lambda: "NotEnrolled" in self.cluster.kubectl("get", "events", "-n", "shop", "--field-selector", "involvedObject.name=bare"), 30)
        self.assertNotIn("web-v", self.cluster.kubectl("logs", "-n", "shop", "bare"))

    def test_3_nothing_is_lost_while_such_agents_are_replaced(self):
        result = rollouts.of_the_agents(self.cluster, REQUESTS)
        self.assertEqual(result["failed"], 0, result)
        self.all_are_enrolled()

    def undelegate(self, point, options):
        # With a source mount(8) keeps no option that isn't named.
        subprocess.run(["mount", "-o", f"remount,{options}", "cgroup2", point], check=True)
        self.assertEqual(cgroup2()[3], options)

    def test_4_an_agent_that_may_not_leave_its_containers_cgroup_serves_from_there(self):
        """As systemd mounts the tree: a cgroup namespace can't be left without SYS_ADMIN."""
        _, point, _, options, *_ = cgroup2()
        if "nsdelegate" not in options:
            if subprocess.run(["mount", "-o", "remount,nsdelegate", point], capture_output=True).returncode != 0:
                self.skipTest("this machine's cgroup tree can't be mounted with nsdelegate")
            self.addCleanup(self.undelegate, point, options)
        self.cluster.weft_cli("upgrade", "--set", "log.level=debug", timeout=180)
        self.all_are_enrolled()
        agents = self.agents()
        self.assertEqual(len(agents), 2)
        for pid in agents:
            self.assertIn("kubepods", self.cgroup(pid))
        # Connections that aren't there yet, to pods that weren't.
        for name in ("web", "web-v2", "client"):
            self.cluster.kubectl("rollout", "restart", "-n", "shop", f"deployment/{name}")
        kubernetes.shop_runs(self.cluster)
        self.all_are_enrolled()
        names, good = self.cluster.names(self.cluster.pod("client"))
        self.assertEqual(good, 40, names)


if __name__ == "__main__":
    unittest.main(verbosity=2)
