"""The lab that everything runs in: namespaces as nodes and pods, made by weft-lab."""
import json
import os

from common import LOAD_CORE, PROXY_CORE, BenchError, program, run
import procs


class Lab:
    def __init__(self, name, folder, meshed=True):
        self.name, self.folder, self.meshed = name, folder, meshed
        self.tool = program("weft-lab")

    def up(self):
        options = ["--proxy-workers", "1"] if self.meshed else ["--no-mesh"]
        run([self.tool, "up", self.folder, "--name", self.name, "--quiet"] + options, timeout=180)
        with open(f"/run/weft-lab/{self.name}/lab.json") as state:
            self.state = json.load(state)
        self.pin()

    def apply(self, path):
        """Objects into the running lab; fails where the control plane refuses one."""
        run(["taskset", "-c", str(LOAD_CORE), self.tool, "apply", path, "--name", self.name], timeout=60)

    def down(self):
        run([self.tool, "down", "--name", self.name], timeout=90)

    def pin(self):
        """The pods' programs beside the load; the mesh's beside the other proxies."""
        procs.pin(procs.in_cgroups(pod["cgroup"] for pod in self.state["pods"]), LOAD_CORE)
        procs.pin(self.mesh_pids(), PROXY_CORE)

    def pod(self, name):
        for pod in self.state["pods"]:
            if pod["id"]["name"] == name:
                return pod
        raise BenchError(f"lab {self.name} has no pod {name}")

    def address(self, name):
        return next(address for address in self.pod(name)["addresses"] if "." in address)

    def netns(self, name):
        return f"/run/netns/{self.pod(name)['networkNamespace']}"

    def inside(self, pod, argv, core=LOAD_CORE):
        """`argv` run in a pod: its network namespace, cgroup and resolv.conf."""
        return ["taskset", "-c", str(core), self.tool, "exec", "--name", self.name, pod, "--"] + argv

    def mesh_pids(self):
        """Control plane, agents and proxies, by their cgroups."""
        if not self.meshed:
            return []
        nodes = [node["cgroup"] for node in self.state["nodes"]]
        roots = [os.path.join(os.path.dirname(nodes[0]), "_link")]
        return procs.in_cgroups(roots + [f"{node}/{part}" for node in nodes for part in ("agent", "proxy")])

    def proxy_pids(self, node=None):
        return procs.in_cgroups(n["cgroup"] + "/proxy" for n in self.state["nodes"] if node in (None, n["name"]))

    def agent_pid(self, node):
        """By the lab's record, read again: agents may have been restarted."""
        with open(f"/run/weft-lab/{self.name}/lab.json") as state:
            nodes = json.load(state)["nodes"]
        return next(n["agent"]["pid"] for n in nodes if n["name"] == node)

    def set_port_range(self):
        """Room for closed connections in TIME_WAIT, for every system alike."""
        for pod in self.state["pods"]:
            run(["nsenter", f"--net=/run/netns/{pod['networkNamespace']}", "sysctl", "-qw",
                 "net.ipv4.ip_local_port_range=20000 65000"])
