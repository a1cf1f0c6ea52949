"""The objects of a large cluster, as an API server lists them: of the size and shape that real ones have."""
import json

NAMESPACES, SERVICES, PODS, ROUTES, NODES = 500, 10_000, 100_000, 1_000, 1_000
PAGE = 500
# Of what is listed.
VERSION = 1_000_000
PODS_OF_A_SERVICE = PODS // SERVICES


def address(index):
    return f"10.{64 + (index >> 16)}.{index >> 8 & 255}.{index & 255}"


def namespace_of(service):
    return f"team-{service % NAMESPACES:03}"


def managed(manager, fields):
    """Half of a real Pod's bytes."""
    return {"apiVersion": "v1", "fieldsType": "FieldsV1", "manager": manager, "operation": "Update",
        "time": "2026-11-01T10:00:00Z", "fieldsV1": {f"f:{name}": {"f:inner": {}, f'k:{{"name":"{name}"}}': {".": {}, "f:value": {}}} for name in fields}}


def metadata(name, namespace, index, **more):
    content = {"name": name, "uid": f"{index:08x}-0000-4000-8000-{index:012x}", "resourceVersion": str(index + 1),
        "creationTimestamp": "2026-11-01T10:00:00Z", **more}
    return content if namespace is None else {**content, "namespace": namespace}


def pod(index, version=None, is_ready=True):
    service = index // PODS_OF_A_SERVICE
    name = f"svc-{service:05}-6d5f{service % 9973:04x}-{index % PODS_OF_A_SERVICE:05}"
    ready = "True" if is_ready else "False"
    content = {
        "metadata": metadata(name, namespace_of(service), index,
            labels={"app": f"svc-{service:05}", "pod-template-hash": f"6d5f{service % 9973:04x}", "version": "v1", "team": "a"},
            annotations={"prometheus.io/scrape": "true", "checksum/config": "0123456789abcdef" * 4},
            ownerReferences=[{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"svc-{service:05}", "uid": f"{service:032x}", "controller": True}],
            managedFields=[managed("kube-controller-manager", ("metadata", "spec", "labels", "containers", "affinity", "tolerations")),
                managed("kubelet", ("status", "conditions", "containerStatuses", "hostIP", "phase", "podIP", "podIPs", "startTime"))]),
        "spec": {
            "nodeName": f"node-{index % NODES:04}", "serviceAccountName": f"account-{service % 20:02}", "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "app", "image": f"registry.example.com/team/svc-{service:05}:1.2.3", "imagePullPolicy": "IfNotPresent",
                "args": ["--config=/etc/app/config.yaml", "--log-level=info"],
                "env": [{"name": f"SETTING_{n}", "value": f"value-{n}-of-the-application"} for n in range(12)],
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}, {"name": "metrics", "containerPort": 9090, "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1},
                "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}, {"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}]}],
            "volumes": [{"name": "config", "configMap": {"name": "app", "defaultMode": 420}}, {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}]}}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]},
        "status": {"phase": "Running", "podIP": address(index), "podIPs": [{"ip": address(index)}], "hostIP": "10.0.0.1",
            "startTime": "2026-11-01T10:00:00Z", "qosClass": "Burstable",
            "conditions": [{"type": kind, "status": ready, "lastTransitionTime": "2026-11-01T10:00:00Z"} for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")],
            "containerStatuses": [{"name": "app", "ready": is_ready, "restartCount": 0, "image": f"registry.example.com/team/svc-{service:05}:1.2.3",
                "imageID": f"registry.example.com/team/svc@sha256:{service:064x}", "containerID": f"containerd://{index:064x}", "started": True,
                "state": {"running": {"startedAt": "2026-11-01T10:00:00Z"}}}]},
    }
    if version:
        content["metadata"]["resourceVersion"] = str(version)
    return content


def service(index):
    return {"metadata": metadata(f"svc-{index:05}", namespace_of(index), index, labels={"app": f"svc-{index:05}"}),
        "spec": {"type": "ClusterIP", "selector": {"app": f"svc-{index:05}"}, "sessionAffinity": "None",
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}}


def endpoint(index, is_ready):
    return {"addresses": [address(index)], "conditions": {"ready": is_ready, "serving": is_ready, "terminating": False}, "nodeName": f"node-{index % NODES:04}",
        "targetRef": {"kind": "Pod", "name": pod_name(index), "namespace": namespace_of(index // PODS_OF_A_SERVICE), "uid": f"{index:08x}-0000-4000-8000-{index:012x}"}}


def pod_name(index):
    owner = index // PODS_OF_A_SERVICE
    return f"svc-{owner:05}-6d5f{owner % 9973:04x}-{index % PODS_OF_A_SERVICE:05}"


def slice_(index, unready=(), version=None):
    content = {"addressType": "IPv4",
        "metadata": metadata(f"svc-{index:05}-x7f2q", namespace_of(index), index, labels={"kubernetes.io/service-name": f"svc-{index:05}"}),
        "endpoints": [endpoint(pod, pod not in unready) for pod in range(index * PODS_OF_A_SERVICE, (index + 1) * PODS_OF_A_SERVICE)],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}
    if version:
        content["metadata"]["resourceVersion"] = str(version)
    return content


def route(index):
    target = index * (SERVICES // ROUTES)
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata(f"route-{index:04}", namespace_of(target), index, generation=1),
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": f"svc-{target:05}", "port": 80}],
            "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/v2"}}], "backendRefs": [{"name": f"svc-{target:05}", "port": 80, "weight": 9}, {"name": f"svc-{target:05}", "port": 80, "weight": 1}]},
                {"backendRefs": [{"name": f"svc-{target:05}", "port": 80}]}]}}


def node(index):
    return {"metadata": metadata(f"node-{index:04}", None, index, labels={"topology.kubernetes.io/zone": f"z{index % 3}", "topology.kubernetes.io/region": "r"}),
        "spec": {}, "status": {"nodeInfo": {"kernelVersion": "6.1.0"}}}


def namespace(index):
    return {"metadata": metadata(f"team-{index:03}", None, index, labels={"weft.dev/mesh": "enabled"}), "spec": {}, "status": {"phase": "Active"}}


def account(index):
    return {"metadata": metadata(f"account-{index % 20:02}", f"team-{index // 20:03}", index)}


# The API server of the tests serves EndpointSlices as v1beta1; recorded they are as today's servers have them.
SLICES = "/apis/discovery.k8s.io/v1beta1/endpointslices"
RECORDED = {"/api/v1/pods": (pod, PODS), SLICES: (slice_, SERVICES)}
# In this order: namespaces before what is in them.
REAL = {
    "/api/v1/namespaces": (namespace, NAMESPACES), "/api/v1/nodes": (node, NODES), "/api/v1/serviceaccounts": (account, NAMESPACES * 20),
    "/api/v1/services": (service, SERVICES), "/apis/gateway.networking.k8s.io/v1/httproutes": (route, ROUTES),
}


def page(path, start):
    """One page of a list and where the next begins; None: it was the last."""
    make, count = RECORDED[path]
    end = min(start + PAGE, count)
    content = {"metadata": {"resourceVersion": str(VERSION), **({"continue": str(end)} if end < count else {})}, "items": [make(index) for index in range(start, end)]}
    return json.dumps(content, separators=(",", ":")).encode()
