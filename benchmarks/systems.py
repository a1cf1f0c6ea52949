"""What is measured: from which pod, to which address, and which processes count."""
from dataclasses import dataclass
from typing import Callable

import envoy
import peers

PAIR, HBONE = "envoy-pair", "envoy-hbone-pair"
NAMES = ["direct", PAIR, HBONE, "haproxy", "weft-same-node", "weft-cross-node"]


@dataclass(frozen=True)
class System:
    name: str
    client: str
    host: str
    port: int
    pids: Callable[[], list]


def all_systems(lab, proxies):
    """In the order of a round."""
    def plain(name, host, port, processes):
        return System(name, "client-plain", host, port, lambda: proxies.pids(processes))

    found = [
        plain("direct", lab.address("server-plain"), envoy.BACKEND, []),
        plain(PAIR, "127.0.0.1", envoy.PAIR, ["pair-out", "pair-in"]),
        plain(HBONE, "127.0.0.1", envoy.HBONE, ["hbone-out", "hbone-in"]),
        plain("haproxy", "127.0.0.1", peers.HAPROXY_PORT, ["haproxy"]),
    ]
    if lab.meshed:
        # By the Services' addresses, as an application would; all of the mesh's processes count for either.
        found.append(System("weft-same-node", "client", "10.96.0.101", 80, lab.mesh_pids))
        found.append(System("weft-cross-node", "client", "10.96.0.102", 80, lab.mesh_pids))
    return found
