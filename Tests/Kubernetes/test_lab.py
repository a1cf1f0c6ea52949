#!/usr/bin/env python3
"""weft-lab up --kubernetes: a real control plane decides, the lab is the kubelet. Everything is checked by kubectl.

Usage: test_lab.py PATH-TO-any-program-beside-weft-lab; as root. WEFT_LAB_TIMES=1 prints how long each step takes.
"""
import base64, hashlib, io, json, os, re, subprocess, sys, tarfile, tempfile, textwrap, time, unittest

BIN = os.path.dirname(os.path.abspath(sys.argv.pop(1))) if len(sys.argv) > 1 else os.path.abspath(".build/debug")
LAB = f"{BIN}/weft-lab"
NAME = "kubetest"
RUN = f"/run/weft-lab/{NAME}"

NODES = """
apiVersion: v1
kind: Node
metadata: {name: east, labels: {zone: a}}
---
apiVersion: v1
kind: Node
metadata:
  name: west
  labels: {zone: b}
  annotations: {lab.weft.dev/cgroup-driver: cgroupfs, lab.weft.dev/runtime: cri-o}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
"""

SHOP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {color: red}
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: shop}
stringData: {password: hunter2}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}, annotations: {version: one}}
    spec:
      terminationGracePeriodSeconds: 5
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: echo}}}
      initContainers:
      - name: first
        image: init
        volumeMounts: [{name: dir, mountPath: /work-dir}]
      containers:
      - name: echo
        image: ghcr.io/weft-mesh/weft-lab:0.1.0
        args: [echo, --tcp, "8080", --name, $(NAME)]
        env:
        - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NODE_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
        - {name: PASSWORD, valueFrom: {secretKeyRef: {name: key, key: password}}}
        envFrom: [{configMapRef: {name: settings}, prefix: SET_}]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
        livenessProbe: {tcpSocket: {port: http}}
        volumeMounts:
        - {name: dir, mountPath: /work-dir}
        - {name: map, mountPath: /etc/settings}
        - {name: secret, mountPath: /etc/key, readOnly: true}
        - {name: token, mountPath: /var/run/secrets/weft}
        - {name: map, mountPath: /etc/one-color, subPath: color}
      volumes:
      - {name: dir, emptyDir: {}}
      - {name: map, configMap: {name: settings}}
      - {name: secret, secret: {secretName: key, defaultMode: 256}}
      - name: token
        projected:
          sources:
          - {serviceAccountToken: {path: token, audience: weft, expirationSeconds: 3600}}
          - {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
---
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: shop}
spec: {selector: {app: echo}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: each, namespace: shop}
spec: {clusterIP: None, selector: {app: echo}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: kube-system}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      hostNetwork: true
      hostPID: true
      dnsPolicy: ClusterFirstWithHostNet
      tolerations: [{operator: Exists}]
      containers:
      - name: agent
        image: example.org/agent
        command: [sh, -c, 'echo "$NODE" > /run/weft/node; exec sleep 1000']
        env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
        resources: {requests: {cpu: 10m}}
        securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [SYS_ADMIN]}}
        volumeMounts: [{name: run, mountPath: /run/weft}, {name: cgroup, mountPath: /sys/fs/cgroup}, {name: bpf, mountPath: /sys/fs/bpf}]
      volumes:
      - {name: run, hostPath: {path: /run/weft, type: DirectoryOrCreate}}
      - {name: cgroup, hostPath: {path: /sys/fs/cgroup}}
      - {name: bpf, hostPath: {path: /sys/fs/bpf}}
"""

IMAGES = """
init: [sh, -c, "echo made by init > /work-dir/file"]
"""


def run(*arguments, status=0, stdin=None, timeout=120):
    result = subprocess.run(arguments, input=stdin, capture_output=True, text=True, timeout=timeout)
    if status is not None and result.returncode != status:
        raise AssertionError(f"{arguments} ended with {result.returncode}: {result.stdout}{result.stderr}{kubelet_log()}")
    return result.stdout


def kubelet_log():
    try:
        with open(f"{RUN}/logs/kubelet.log") as log:
            return "\nkubelet: " + log.read()[-3000:]
    except OSError:
        return ""


def write_image(folder, name, program):
    """An OCI layout with one image: a program of this machine, the libraries that it loads, and nothing else."""
    os.makedirs(f"{folder}/blobs/sha256")

    def blob(content):
        digest = hashlib.sha256(content).hexdigest()
        with open(f"{folder}/blobs/sha256/{digest}", "wb") as file:
            file.write(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w:gz") as tar:
        for path in [program] + re.findall(r"(/\S+) \(", run("ldd", program)):
            tar.add(os.path.realpath(path), path.lstrip("/"))
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
        "config": {"Entrypoint": [program], "Cmd": ["1000"], "Env": ["FROM=image"], "User": "1000:1001"}}
    manifest = {"schemaVersion": 2, "config": blob(json.dumps(config).encode()), "layers": [blob(layer.getvalue())]}
    entry = {**blob(json.dumps(manifest).encode()), "annotations": {"org.opencontainers.image.ref.name": name}}
    for path, content in (("index.json", {"schemaVersion": 2, "manifests": [entry]}), ("oci-layout", {"imageLayoutVersion": "1.0.0"})):
        with open(f"{folder}/{path}", "w") as file:
            json.dump(content, file)


class Timed:
    def __init__(self, what):
        self.what = what

    def __enter__(self):
        self.start = time.monotonic()

    def __exit__(self, *_):
        if os.environ.get("WEFT_LAB_TIMES"):
            print(f"{time.monotonic() - self.start:6.2f} s  {self.what}", file=sys.stderr)


def traces():
    """Whatever bears the lab's name on this machine."""
    with open("/proc/self/mountinfo") as file:
        mounts = file.read()
    root = re.search(r"^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 ", mounts, re.M).group(1)
    found = [name for name in os.listdir("/run/netns") if name.startswith(f"weft-{NAME}")]
    places = (RUN, f"{RUN}.lock", f"{root}/weft-lab/{NAME}", f"/sys/fs/bpf/weft-lab/{NAME}")
    return found + [path for path in places if os.path.exists(path)] + re.findall(f"{RUN}\\S*", mounts)


class Lab(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run(LAB, "down", "--name", NAME)
        folder = tempfile.TemporaryDirectory(prefix="weft-lab-kubernetes-")
        cls.addClassCleanup(folder.cleanup)
        for name, text in (("nodes", NODES), ("shop", SHOP), ("images", IMAGES)):
            with open(f"{folder.name}/{name}.yaml", "w") as file:
                file.write(text)
        cls.addClassCleanup(cls.down)
        with Timed("up with two nodes"):
            write_image(f"{folder.name}/oci", "example.org/tiny:1", "/usr/bin/sleep")
            run(LAB, "up", "--kubernetes", folder.name, "--images", f"{folder.name}/oci", "--name", NAME)
        with Timed("the first rollout"):
            for what in ("-n shop deployment/echo", "-n kube-system daemonset/agent"):
                cls.kubectl("rollout", "status", *what.split(), "--timeout=60s")

    @classmethod
    def down(cls):
        with Timed("down"):
            run(LAB, "down", "--name", NAME)
        assert traces() == [], traces()

    @staticmethod
    def kubectl(*arguments, status=0, stdin=None):
        return run(LAB, "kubectl", "--name", NAME, "--", *arguments, status=status, stdin=stdin)

    def get(self, *arguments):
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def pods(self, namespace, selector):
        pods = self.get("pods", "-n", namespace, "-l", selector)["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def inside(self, pod, *command, namespace="shop"):
        return self.kubectl("exec", "-n", namespace, pod["metadata"]["name"], "-c", pod["spec"]["containers"][0]["name"], "--", *command)

    def wait(self, what, condition, seconds=30):
        end = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            self.assertLess(time.monotonic(), end, f"waited for {what}{kubelet_log()}")
            time.sleep(0.1)

    def wait_gone(self, name, seconds=30):
        self.wait(f"{name} to go", lambda: not self.kubectl("get", "pod", "-n", "shop", name, "--ignore-not-found"), seconds)

    def apply(self, text):
        self.kubectl("apply", "-f", "-", stdin=textwrap.dedent(text))

    def node(self, node, *command):
        return run("nsenter", f"--net=/run/netns/weft-{NAME}-{node}", *command)

    @staticmethod
    def process(pod):
        """The pid of a pod's first container that runs."""
        pods = json.loads(run(LAB, "list", "--name", NAME, "-o", "json"))["pods"]
        containers = next(entry for entry in pods if entry["id"]["name"] == pod)["containers"]
        return next(pid for pid in (entry["process"]["pid"] for entry in containers) if os.path.exists(f"/proc/{pid}"))

    def pod(self, name, command, extra="", container=""):
        self.apply(f"""
            apiVersion: v1
            kind: Pod
            metadata: {{name: {name}, namespace: shop}}
            spec:
              terminationGracePeriodSeconds: 2
              {extra}
              containers:
              - {{name: app, image: none, command: [sh, -c, {json.dumps(command)}] {container}}}
            """)
        self.addCleanup(lambda: self.kubectl("delete", "pod", "-n", "shop", name, "--ignore-not-found", "--now"))

    # What there is after `up`.

    def test_nodes_are_ready_and_say_what_they_are(self):
        for node in self.get("nodes")["items"]:
            ready = [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"]
            self.assertEqual(ready, ["True"])
            self.assertNotIn("taints", node["spec"])
            self.assertEqual(node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"], 10250)
        self.assertEqual(self.get("node", "west")["metadata"]["labels"]["zone"], "b")
        self.assertTrue(self.get("lease", "-n", "kube-node-lease", "east")["spec"]["renewTime"])

    def test_a_deployments_pods_run_spread_and_ready(self):
        pods = self.pods("shop", "app=echo")
        self.assertEqual(sorted(pod["spec"]["nodeName"] for pod in pods), ["east", "west"])
        for pod in pods:
            status = pod["status"]
            self.assertRegex(status["podIP"], r"^10\.244\.\d+\.\d+$")
            self.assertTrue(status["containerStatuses"][0]["ready"])
            self.assertEqual(status["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed")
            self.assertIn("PodScheduled", [c["type"] for c in status["conditions"]])

    def test_cgroups_are_named_as_a_kubelet_names_them(self):
        def cgroup(pod):
            with open(f"/proc/{self.process(pod['metadata']['name'])}/cgroup") as file:
                return next(line for line in file if line.startswith("0::")).strip()
        for pod in self.pods("shop", "app=echo"):
            uid = pod["metadata"]["uid"]
            if pod["spec"]["nodeName"] == "east":
                path = f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid.replace('-', '_')}.slice/cri-containerd-"
            else:
                path = f"/kubepods/besteffort/pod{uid}/crio-"
            self.assertRegex(cgroup(pod), f"^0::/weft-lab/{NAME}/(east|west){re.escape(path)}[0-9a-f]{{64}}(\\.scope)?$")
            # As containers see it.
            self.assertEqual(self.inside(pod, "sh", "-c", "grep ^0:: /proc/self/cgroup").strip(), "0::/")
        for pod in self.pods("kube-system", "app=agent"):
            self.assertIn("burstable", cgroup(pod))

    def test_variables_and_volumes(self):
        pod = self.pods("shop", "app=echo")[0]
        name = pod["metadata"]["name"]
        text = self.inside(pod, "sh", "-c", "echo $NAME $NODE_IP $PASSWORD $SET_color $ECHO_SERVICE_PORT")
        self.assertEqual(text.split(), [name, pod["status"]["hostIP"], "hunter2", "red", "80"])
        self.assertEqual(self.inside(pod, "cat", "/work-dir/file"), "made by init\n")
        self.assertEqual(self.inside(pod, "cat", "/etc/settings/color", "/etc/one-color"), "redred")
        self.assertEqual(self.inside(pod, "stat", "-Lc", "%a", "/etc/key/password"), "400\n")
        self.assertIn('app="echo"', self.inside(pod, "cat", "/var/run/secrets/weft/labels"))
        # The token is bound to the pod, and for its audience only.
        token = self.inside(pod, "cat", "/var/run/secrets/weft/token")
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        self.assertEqual(claims["aud"], ["weft"])
        self.assertEqual(claims["kubernetes.io"]["pod"]["uid"], pod["metadata"]["uid"])
        review = json.loads(self.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": ["weft"]}})))
        self.assertTrue(review["status"]["authenticated"])
        # The one of 1.20's admission.
        self.assertEqual(self.inside(pod, "cat", "/var/run/secrets/kubernetes.io/serviceaccount/namespace"), "shop")

    def test_a_root_of_its_own(self):
        one, two = self.pods("shop", "app=echo")
        self.inside(one, "sh", "-c", "mkdir -p /var/private && echo x > /var/private/x && test -z \"$(ls /run/weft-lab 2>/dev/null)\"")
        self.assertEqual(self.inside(two, "sh", "-c", "ls /var/private 2>/dev/null; hostname").strip(), two["metadata"]["name"])
        self.assertFalse(os.path.exists("/var/private/x"))

    def test_services_lead_to_every_ready_pod(self):
        address = self.get("service", "-n", "shop", "echo")["spec"]["clusterIP"]
        for node in ("east", "west"):
            def names():
                answers = [json.loads(self.node(node, "curl", "-s", "-m", "5", f"http://{address}/"))["name"] for _ in range(40)]
                return set(answers)
            self.assertEqual(names(), {pod["metadata"]["name"] for pod in self.pods("shop", "app=echo")})
        pod = self.pods("shop", "app=echo")[0]
        # By name, from a pod, itself among the targets.
        for _ in range(6):
            self.assertIn("echo-", self.inside(pod, "curl", "-s", "-m", "5", "http://echo/"))
        self.assertIn('"1"', self.inside(pod, "curl", "-sk", "-m", "5", "https://kubernetes.default/version"))

    def test_dns_answers_on_every_node(self):
        addresses = sorted(pod["status"]["podIP"] for pod in self.pods("shop", "app=echo"))
        for node in ("east", "west"):
            answer = self.node(node, "dig", "+short", "+time=5", "+tries=3", "@10.96.0.10", "each.shop.svc.cluster.local")
            self.assertEqual(sorted(answer.split()), addresses)
            self.assertIn("NXDOMAIN", self.node(node, "dig", "+time=5", "+tries=3", "@10.96.0.10", "no.shop.svc.cluster.local"))

    def test_a_service_without_endpoints_refuses_at_once(self):
        self.apply("""
            apiVersion: v1
            kind: Service
            metadata: {name: empty, namespace: shop}
            spec: {selector: {app: none}, ports: [{port: 80}]}
            """)
        address = self.get("service", "-n", "shop", "empty")["spec"]["clusterIP"]
        # 7: refused; a wait that is over would be 28.
        self.wait("the refusal", lambda: subprocess.run(
            ["nsenter", f"--net=/run/netns/weft-{NAME}-east", "curl", "-s", "-m", "5", f"http://{address}/"]).returncode == 7)

    def test_a_daemonset_has_its_nodes_network_folders_and_rights(self):
        for pod in self.pods("kube-system", "app=agent"):
            node = pod["spec"]["nodeName"]
            self.assertEqual(pod["status"]["podIP"], pod["status"]["hostIP"])
            with open(f"{RUN}/nodes/{node}/root/run/weft/node") as file:
                self.assertEqual(file.read().strip(), node)
            def ask(command):
                return self.inside(pod, "sh", "-c", command, namespace="kube-system")
            self.assertIn("kubepods", ask("ls /sys/fs/cgroup"))
            self.assertEqual(ask("touch /x 2>&1 || echo refused").splitlines()[-1], "refused")
            status = ask("grep -E 'CapEff|NoNewPrivs' /proc/self/status").split()
            self.assertEqual(status, ["CapEff:", "0000000000200000", "NoNewPrivs:", "1"])

    # What changes.

    def test_a_configmap_changes_in_place(self):
        pod = self.pods("shop", "app=echo")[0]
        self.addCleanup(lambda: self.kubectl("patch", "configmap", "-n", "shop", "settings", "-p", '{"data":{"color":"red"}}'))
        with Timed("a ConfigMap's change in its volume"):
            self.kubectl("patch", "configmap", "-n", "shop", "settings", "-p", '{"data":{"color":"blue"}}')
            self.wait("the new value", lambda: self.inside(pod, "cat", "/etc/settings/color") == "blue", 10)

    def test_a_rolling_update_replaces_every_pod(self):
        before = {pod["metadata"]["uid"] for pod in self.pods("shop", "app=echo")}
        with Timed("a rolling update of two pods"):
            self.kubectl("patch", "deployment", "-n", "shop", "echo", "-p",
                '{"spec":{"template":{"metadata":{"annotations":{"version":"two"}}}}}')
            self.kubectl("rollout", "status", "-n", "shop", "deployment/echo", "--timeout=60s")
        after = self.wait("the old ones to go", lambda: (lambda pods: pods if len(pods) == 2 else None)(self.pods("shop", "app=echo")))
        self.assertFalse(before & {pod["metadata"]["uid"] for pod in after})

    def test_what_ends_is_started_again_and_counted(self):
        self.pod("crash", "exit 3")
        status = self.wait("a second start", lambda: next((s for s in self.get("pod", "-n", "shop", "crash")["status"].get("containerStatuses", [])
            if s["restartCount"] >= 2 and "waiting" in s["state"]), None))
        self.assertEqual(status["state"]["waiting"]["reason"], "CrashLoopBackOff")
        self.assertEqual(status["lastState"]["terminated"]["exitCode"], 3)

    def test_a_pod_that_is_over(self):
        self.pod("once", "echo because > /dev/termination-log; exit 4", "restartPolicy: Never")
        pod = self.wait("its end", lambda: (lambda p: p if p["status"]["phase"] == "Failed" else None)(self.get("pod", "-n", "shop", "once")))
        end = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        self.assertEqual((end["exitCode"], end["message"]), (4, "because\n"))

    def test_deletion_waits_for_its_grace_and_no_longer(self):
        self.pod("polite", "trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done")
        self.pod("stubborn", "trap '' TERM; while :; do sleep 0.05; done")
        for name in ("polite", "stubborn"):
            self.kubectl("wait", "-n", "shop", "--for=condition=Ready", f"pod/{name}", "--timeout=20s")
        start = time.monotonic()
        self.kubectl("delete", "pod", "-n", "shop", "polite", "--wait=false", "--grace-period=20")
        self.wait_gone("polite", 30)
        self.assertLess(time.monotonic() - start, 15)
        start = time.monotonic()
        self.kubectl("delete", "pod", "-n", "shop", "stubborn", "--wait=false")
        self.wait_gone("stubborn", 10)
        self.assertTrue(2 <= time.monotonic() - start < 10, time.monotonic() - start)
        self.assertIn("bye", run(LAB, "logs", "polite", "--name", NAME))

    def test_a_hook_runs_before_the_signal(self):
        self.pod("hooked", "trap 'cat /tmp/hook-ran; exit 0' TERM; while :; do sleep 0.05; done",
            container=", lifecycle: {preStop: {exec: {command: [sh, -c, 'echo hook > /tmp/hook-ran']}}}")
        self.kubectl("wait", "-n", "shop", "--for=condition=Ready", "pod/hooked", "--timeout=20s")
        self.kubectl("delete", "pod", "-n", "shop", "hooked", "--wait=false")
        self.wait_gone("hooked", 10)
        self.assertIn("hook", run(LAB, "logs", "hooked", "--name", NAME))

    def test_a_liveness_probe_restarts(self):
        self.pod("sick", "sleep 1000", container=", livenessProbe: {exec: {command: [test, -e, /healthy]}, periodSeconds: 1, failureThreshold: 2}")
        self.wait("a restart", lambda: any(s["restartCount"] for s in self.get("pod", "-n", "shop", "sick")["status"].get("containerStatuses", [])))

    def test_an_unknown_image_waits(self):
        self.apply("""
            apiVersion: v1
            kind: Pod
            metadata: {name: unknown, namespace: shop}
            spec: {containers: [{name: app, image: example.org/nothing}]}
            """)
        self.addCleanup(lambda: self.kubectl("delete", "pod", "-n", "shop", "unknown", "--now"))
        def reasons():
            statuses = self.get("pod", "-n", "shop", "unknown")["status"].get("containerStatuses", [])
            return [status["state"].get("waiting", {}).get("reason") for status in statuses]
        self.wait("ErrImagePull", lambda: reasons() == ["ErrImagePull"])

    def test_an_image_of_an_oci_layout_is_all_that_its_container_has(self):
        self.apply("""
            apiVersion: v1
            kind: Pod
            metadata: {name: tiny, namespace: shop}
            spec: {terminationGracePeriodSeconds: 1, containers: [{name: app, image: "example.org/tiny:1"}]}
            """)
        self.addCleanup(lambda: self.kubectl("delete", "pod", "-n", "shop", "tiny", "--now"))
        self.kubectl("wait", "-n", "shop", "--for=condition=Ready", "pod/tiny", "--timeout=20s")
        self.kubectl("exec", "-n", "shop", "tiny", "--", "/usr/bin/sleep", "0")
        self.assertIsNone(re.search("root", self.kubectl("exec", "-n", "shop", "tiny", "--", "/usr/bin/cat", "/etc/passwd", status=None)))
        with open(f"/proc/{self.process('tiny')}/status") as file:
            self.assertRegex(file.read(), r"Uid:\t1000\t")

    def test_another_user_has_no_rights_and_reads_its_token(self):
        self.pod("other", "sleep 1000", """securityContext: {runAsUser: 1234, runAsGroup: 1235, fsGroup: 1236}
              volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: token, audience: weft}}]}}]""".strip(),
            ", volumeMounts: [{name: t, mountPath: /t}]")
        self.kubectl("wait", "-n", "shop", "--for=condition=Ready", "pod/other", "--timeout=20s")
        pod = self.get("pod", "-n", "shop", "other")
        text = self.inside(pod, "sh", "-c", "id -u; id -g; id -G; test -s /t/token && echo readable; grep CapEff /proc/self/status")
        self.assertEqual(text.split(), ["1234", "1235", "1235", "1236", "readable", "CapEff:", "0000000000000000"])

    def test_many_pods_come_and_go(self):
        self.apply("""
            apiVersion: apps/v1
            kind: Deployment
            metadata: {name: many, namespace: shop}
            spec:
              replicas: 30
              selector: {matchLabels: {app: many}}
              template:
                metadata: {labels: {app: many}}
                spec: {terminationGracePeriodSeconds: 1, containers: [{name: app, image: none, command: [sleep, "1000"]}]}
            """)
        with Timed("30 pods"):
            self.kubectl("rollout", "status", "-n", "shop", "deployment/many", "--timeout=110s")
        addresses = [pod["status"]["podIP"] for pod in self.pods("shop", "app=many")]
        self.assertEqual(len(set(addresses)), 30)
        with Timed("their end"):
            self.kubectl("delete", "deployment", "-n", "shop", "many")
            self.wait("their end", lambda: not self.get("pods", "-n", "shop", "-l", "app=many")["items"], 60)
        folders = os.listdir(f"{RUN}/pods")
        here = {pod["metadata"]["uid"] for pod in self.get("pods", "-A")["items"]}
        self.assertLessEqual(set(folders), here)

    def test_the_api_server_is_away_and_comes_back(self):
        pod = self.pods("shop", "app=echo")[0]
        restarts = pod["status"]["containerStatuses"][0]["restartCount"]
        with Timed("api stop"):
            run(LAB, "api", "stop", "--name", NAME)
        try:
            # Pods run on, and are started again.
            run("pkill", "-9", "-f", f"name {pod['metadata']['name']}$")
            self.wait("its server", lambda: "echo-" in run("nsenter", f"--net=/run/netns/weft-{NAME}-{pod['spec']['nodeName']}",
                "curl", "-s", "-m", "2", f"http://{pod['status']['podIP']}:8080/", status=None))
        finally:
            with Timed("api start"):
                run(LAB, "api", "start", "--name", NAME)
        self.wait("the count", lambda: self.get("pod", "-n", "shop", pod["metadata"]["name"])["status"]["containerStatuses"][0]["restartCount"] > restarts)
        self.kubectl("rollout", "restart", "-n", "shop", "deployment/echo")
        self.kubectl("rollout", "status", "-n", "shop", "deployment/echo", "--timeout=60s")

    def test_a_plugins_certificate_is_taken_by_weft(self):
        with open(f"/run/weft-lab/{NAME}/kubeconfig") as file:
            config = json.load(file)
        user = config["users"][0]["user"]
        credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {
            "clientCertificateData": base64.b64decode(user["client-certificate-data"]).decode(),
            "clientKeyData": base64.b64decode(user["client-key-data"]).decode()}}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as printed, tempfile.NamedTemporaryFile("w") as file:
            json.dump(credential, printed)
            printed.flush()
            config["users"][0]["user"] = {"exec": {"apiVersion": credential["apiVersion"], "command": "cat", "args": [printed.name]}}
            json.dump(config, file)
            file.flush()
            version = ["nsenter", f"--net=/run/netns/weft-{NAME}", "sh", "-c", f"{BIN}/weft version --kubeconfig {file.name} 2>&1"]
            self.assertIn("No agent runs", run(*version, status=1), "it could ask")
            config["users"][0]["user"]["exec"]["command"] = "false"
            file.seek(0)
            file.truncate()
            json.dump(config, file)
            file.flush()
            self.assertIn("false ended with status 1", run(*version, status=None))

    def test_the_labs_own_commands_know_the_pods(self):
        pod = self.pods("shop", "app=echo")[0]
        name = pod["metadata"]["name"]
        self.assertIn(f"shop/{name}", run(LAB, "list", "--name", NAME))
        self.assertEqual(run(LAB, "exec", name, "--name", NAME, "--", "sh", "-c", "echo $NAME").strip(), name)
        run(LAB, "apply", "/dev/null", "--name", NAME, status=1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
