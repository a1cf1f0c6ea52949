"""Envoy as a pair of sidecars that route by authority, path and header: HTTP/1.1, HTTP/2 and gRPC, over mTLS HTTP/2."""
import envoy
import routes

# Workload's protocol -> port beside the client, port beside the server, the backend's port, its HTTP.
PORTS = {
    "http1": (18021, 18031, 8081, 1),
    "http2": (18022, 18032, 8082, 2),
    "grpc": (18023, 18033, 8083, 2),
}


def configurations(server, certificates):
    """As `envoy.configurations`: the rules are applied beside the client."""
    inbound, outbound = ([], []), ([], [])
    for name, (port, peer, backend, http) in PORTS.items():
        inbound[0].append(envoy.http_listener(name, "0.0.0.0", peer, name, certificates))
        inbound[1].append(envoy.cluster(name, "127.0.0.1", backend, http))
        hosts = [routes.envoy(name, grpc=name == "grpc")]
        outbound[0].append(envoy.http_listener(name, "127.0.0.1", port, name, hosts=hosts))
        outbound[1].append(envoy.cluster(name, server, peer, 2, certificates))
    return {"routed-in": envoy.bootstrap(*inbound), "routed-out": envoy.bootstrap(*outbound)}
