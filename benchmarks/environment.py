"""Where and how it was measured: environment.json, beside the results."""
import datetime
import os
import platform

from common import HERE, LOAD_CORE, PROXY_CORE, run
import h2
import loads
import peers


def machine():
    with open("/proc/cpuinfo") as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    with open("/proc/meminfo") as lines:
        memory = int(next(lines).split()[1]) // 1024
    return {"kernel": platform.release(), "cpu": model, "cores": os.cpu_count(), "memory_mb": memory}


def commit():
    """The measured revision; `+` where the folder differs from it."""
    try:
        head = run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"]).strip()
        changed = run(["git", "-C", HERE, "status", "--porcelain", "--untracked-files=no"]).strip()
        return head + ("+" if changed else "")
    except Exception:  # An exported tree has no history; the figures stand without it.
        return "unknown"


def describe(seconds, rounds):
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit(),
        "machine": machine(),
        "versions": peers.versions(),
        "seconds_per_round": seconds,
        "rounds": rounds,
        "load_average_at_start": os.getloadavg()[0],
        "pinning": {
            f"core {LOAD_CORE}": "load generator, backend nginx, backend nghttpd",
            f"core {PROXY_CORE}": "all proxies: Envoys (--concurrency 1 each), HAProxy (nbthread 1), nginx (1 worker),"
            " weft-proxy (--proxy-workers 1 per node), weft-agents, weft-control",
        },
        "method": [
            "one run, interleaved rounds (every system once, then again); medians of the rounds, ratios of medians",
            f"HTTP/1.1: wrk, closed loop, 1 thread, {loads.CONNECTIONS} connections, 1,024 bytes of body from nginx",
            "http1-routed, http2-unary, grpc-unary: ten rules of path prefix (gRPC: service) and header for one"
            " authority; the load asks for what the eighth matches, and what none matches must not be served. Envoy:"
            " routes in the sidecar beside the client, mTLS between, its counters on. Weft: HTTPRoute and GRPCRoute on"
            " a Service",
            f"HTTP/2 and gRPC: h2load, closed loop, 1 thread, {h2.CONNECTIONS} connections with {h2.STREAMS} streams"
            " each, 1,024 bytes from nghttpd; gRPC: a message of 64 bytes for one of 1,024, status in the trailers",
            "http1-one-hop-routed: the same rules in HAProxy and nginx (1 worker), client and server pods on one node,"
            " no TLS; Weft is weft-same-node",
            "bulk: one HTTP download over one connection, server to client; its CPU ratio is CPU seconds per gigabyte",
            "CPU: run time by /proc/PID/task/*/schedstat of all the system's proxies; for Weft every process of the"
            " mesh, of both nodes, control plane included; interrupt time that the kernel accounts apart is in"
            " no figure",
            "resident: VmRSS summed over the same processes while the load runs",
            "direct, Envoy and HAProxy: client and server pods on different nodes of the lab, outside the mesh;"
            " Envoys run in the pods' network namespaces like sidecars",
            "direct has no proxy, so the load's core also does all of the network's work and the other core idles:"
            " it is a reference for latency, not the most that a mesh could reach",
            "idle-2000 is measured once, first, while no allocator holds memory of earlier loads",
        ],
    }
