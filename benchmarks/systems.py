"""What is measured: from which pod, to which address, and which processes count."""
from dataclasses import dataclass
from typing import Callable

import envoy
import envoy_routed
import one_hop
import peers

PAIR, HBONE = "envoy-pair", "envoy-hbone-pair"
NAMES = ["direct", PAIR, HBONE, "haproxy", "nginx", "weft-same-node", "weft-cross-node"]
# By the routed workloads' protocol: the Services of the lab, near and far.
ROUTED = {"http1": ("10.96.0.111", "10.96.0.112"), "http2": ("10.96.0.113", "10.96.0.114"),
          "grpc": ("10.96.0.115", "10.96.0.116")}


@dataclass(frozen=True)
class System:
    name: str
    client: str
    host: str
    port: int
    pids: Callable[[], list]


def plain(proxies, name, host, port, processes):
    return System(name, "client-plain", host, port, lambda: proxies.pids(processes))


def meshed(lab, near, far=None):
    """By the Services' addresses, as an application would; all of the mesh's processes count for either."""
    hosts = {"weft-same-node": near, "weft-cross-node": far} if lab.meshed else {}
    return [System(name, "client", host, 80, lab.mesh_pids) for name, host in hosts.items() if host]


def streams(lab, proxies):
    """Of the workloads that Weft carries unread. In the order of a round, as below."""
    return [
        plain(proxies, "direct", lab.address("server-plain"), envoy.BACKEND, []),
        plain(proxies, PAIR, "127.0.0.1", envoy.PAIR, ["pair-out", "pair-in"]),
        plain(proxies, HBONE, "127.0.0.1", envoy.HBONE, ["hbone-out", "hbone-in"]),
        plain(proxies, "haproxy", "127.0.0.1", peers.HAPROXY_PORT, ["haproxy"]),
    ] + meshed(lab, "10.96.0.101", "10.96.0.102")


def routed(lab, proxies, protocol):
    port, _, backend, _ = envoy_routed.PORTS[protocol]
    return [
        plain(proxies, "direct", lab.address("server-plain"), backend, []),
        plain(proxies, PAIR, "127.0.0.1", port, ["routed-out", "routed-in"]),
    ] + meshed(lab, *ROUTED[protocol])


def one_hop_routed(lab, proxies):
    """All within one node."""
    return [
        plain(proxies, "direct", lab.address("server-near"), envoy.BACKEND, []),
        plain(proxies, "haproxy", "127.0.0.1", one_hop.HAPROXY_PORT, ["haproxy-routed"]),
        plain(proxies, "nginx", "127.0.0.1", one_hop.NGINX_PORT, ["nginx-routed"]),
    ] + meshed(lab, ROUTED["http1"][0])
