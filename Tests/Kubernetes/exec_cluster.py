#!/usr/bin/env python3
"""An API server whose node's kubelet listens on a port of loopback, with one pod `p`, until standard input ends.

Usage: exec_cluster.py PORT; prints the path of a kubeconfig.
"""
import sys
from cluster import Cluster, TOKEN

with Cluster() as cluster:
    cluster.call("POST", "/api/v1/nodes", {"metadata": {"name": "one"}})
    cluster.call("PATCH", "/api/v1/nodes/one/status", {"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": int(sys.argv[1])}}}}, "application/merge-patch+json")
    cluster.call("POST", "/api/v1/namespaces/default/pods", {
        "metadata": {"name": "p"}, "spec": {"nodeName": "one", "containers": [{"name": "c", "image": "i"}]}})
    cluster.call("PATCH", "/api/v1/namespaces/default/pods/p/status", {"status": {"phase": "Running"}}, "application/merge-patch+json")
    print(cluster.kubeconfig(TOKEN), flush=True)
    sys.stdin.read()
