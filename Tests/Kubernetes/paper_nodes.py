"""Nodes of paper for tests of the installation: a real controller-manager and scheduler place real pods on them, and a thread
says of each pod what a kubelet would, without running anything. weft-lab has nodes that run them."""
import json, threading, time, urllib.error
from cluster import CACHE, TOKEN

MERGE = "application/merge-patch+json"


def start_controllers(cluster):
    config = cluster.kubeconfig(TOKEN)
    cluster.run("manager", f"{CACHE}/bin/kube-controller-manager", f"--kubeconfig={config}", "--port=0", "--secure-port=0",
        "--leader-elect=false", f"--service-account-private-key-file={cluster.folder}/sa.key",
        f"--root-ca-file={cluster.folder}/certificates/apiserver.crt", "--concurrent-gc-syncs=2")
    cluster.run("scheduler", f"{CACHE}/bin/kube-scheduler", f"--kubeconfig={config}", "--port=0", "--secure-port=0",
        "--leader-elect=false")


class PaperNodes:
    def __init__(self, cluster, names):
        self.cluster, self.names = cluster, names
        # Pods of these images never become ready, as where a node can't run them.
        self.broken = set()
        # These nodes aren't ready, and nothing happens to their pods, as where the kubelet is gone.
        self.away = set()
        self.ended = threading.Event()
        for name in names:
            self.make(name)
        self.report()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def make(self, name, labels=None):
        self.cluster.call("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": {
            "kubernetes.io/os": "linux", "kubernetes.io/hostname": name, **(labels or {})}}})

    def add(self, name, labels=None, away=False):
        if away:
            self.away = self.away | {name}
        self.make(name, labels)
        self.names = self.names + [name]
        self.report()

    def remove(self, name):
        self.names = [other for other in self.names if other != name]
        self.away = self.away - {name}
        self.cluster.call("DELETE", f"/api/v1/nodes/{name}")

    def stop(self):
        self.ended.set()
        self.thread.join(20)

    def report(self):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for name in self.names:
            self.cluster.call("PATCH", f"/api/v1/nodes/{name}/status", {"status": {
                "capacity": {"cpu": "8", "memory": "16Gi", "pods": "110"},
                "allocatable": {"cpu": "8", "memory": "16Gi", "pods": "110"},
                "nodeInfo": {"kernelVersion": "6.1.0-9-amd64", "architecture": "amd64", "osImage": "Debian 12",
                    "kubeletVersion": "v1.20.2", "containerRuntimeVersion": "paper://1", "operatingSystem": "linux",
                    "bootID": "b", "machineID": "m", "systemUUID": "s", "kubeProxyVersion": "v1.20.2"},
                "conditions": [{"type": "Ready", "status": str(name not in self.away), "reason": "Paper", "message": "",
                    "lastHeartbeatTime": now, "lastTransitionTime": now}]}}, MERGE)

    def run(self):
        last = time.monotonic()
        while not self.ended.wait(0.2):
            try:
                if time.monotonic() - last > 5:
                    self.report()
                    last = time.monotonic()
                for pod in self.cluster.call("GET", "/api/v1/pods")["items"]:
                    self.attend(pod)
            except urllib.error.HTTPError as error:
                # Someone else was quicker: the next round sees it.
                if error.code not in (404, 409):
                    print(f"paper nodes: {error!r}", flush=True)
            except Exception as error:
                print(f"paper nodes: {error!r}", flush=True)

    def attend(self, pod):
        if pod["spec"].get("nodeName") in {None, *self.away}:
            return
        metadata, container = pod["metadata"], pod["spec"]["containers"][0]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        if "deletionTimestamp" in metadata:
            self.cluster.call("DELETE", path + "?gracePeriodSeconds=0")
        elif container["image"] in self.broken:
            self.tell(path, pod, container, False, {"state": {"waiting": {
                "reason": "ErrImagePull", "message": f"no image {container['image']}"}}})
        elif container.get("args") == ["clean"]:
            ended = {"exitCode": 0, "reason": "Completed", "startedAt": None, "finishedAt": None}
            self.tell(path, pod, container, False, {"restartCount": 1, "lastState": {"terminated": ended},
                "state": {"waiting": {"reason": "CrashLoopBackOff"}}})
        else:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self.tell(path, pod, container, True, {"state": {"running": {"startedAt": now}}})

    def tell(self, path, pod, container, ready, status):
        old = pod["status"].get("containerStatuses", [{}])[0]
        if "ready" in old and (ready or old.get("lastState", {}) == status.get("lastState", {})) and old["ready"] == ready:
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        base = {"name": container["name"], "image": container["image"], "imageID": "", "ready": ready, "restartCount": 0}
        self.cluster.call("PATCH", path + "/status", {"status": {
            "phase": "Running" if ready else "Pending", "podIP": "10.9.0.1", "podIPs": [{"ip": "10.9.0.1"}],
            "containerStatuses": [{**base, **status}],
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": now},
                {"type": "Ready", "status": str(ready), "lastTransitionTime": now}]}}, MERGE)
