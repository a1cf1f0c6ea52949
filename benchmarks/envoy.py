"""Envoy as a pair of sidecars: HTTP/1.1 over mTLS HTTP/2, and opaque streams in HBONE.

HTTP/2 windows are Envoy's defaults (16 MB): tried from 256 KB to 64 MB, its bulk figures are best with these."""

PAIR, PAIR_INBOUND, HBONE, HBONE_INBOUND = 18001, 18011, 18002, 18012
BACKEND = 8080
IDENTITY = "spiffe://cluster.local/ns/bench/sa/default"
TYPE = "type.googleapis.com/envoy.extensions."
NO_LIMITS = {"thresholds": [{"max_connections": 100000, "max_pending_requests": 100000, "max_requests": 100000}]}


def address(host, port):
    return {"socket_address": {"address": host, "port_value": port}}


def tls(certificates, server, peer=IDENTITY):
    """TLS 1.3, both sides with a SPIFFE ID that the other checks; `peer` is the one expected."""
    context = {
        "tls_certificates": [{
            "certificate_chain": {"filename": f"{certificates}/tls.pem"},
            "private_key": {"filename": f"{certificates}/key.pem"}}],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "validation_context": {
            "trusted_ca": {"filename": f"{certificates}/ca.pem"},
            "match_typed_subject_alt_names": [
                {"san_type": "URI", "matcher": {"exact": peer}}]},
        "alpn_protocols": ["h2"]}
    kind = "Downstream" if server else "Upstream"
    config = {"@type": f"{TYPE}transport_sockets.tls.v3.{kind}TlsContext", "common_tls_context": context}
    if server:
        config["require_client_certificate"] = True
    return {"name": "tls", "typed_config": config}


def cluster(name, host, port, http=None, certificates=None):
    made = {
        "name": name, "type": "STATIC", "connect_timeout": "2s", "circuit_breakers": NO_LIMITS,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(host, port)}}]}]}}
    if http:
        options = {"http_protocol_options": {}} if http == 1 else {"http2_protocol_options": {}}
        made["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPE}upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": options}}
    if certificates:
        made["transport_socket"] = tls(certificates, server=False)
    return made


def http_listener(name, host, port, to, certificates=None, connect=False, hosts=None):
    """`hosts`: virtual hosts with routes; without them everything goes to the cluster `to`."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": to, "timeout": "0s"}}
    manager = {
        "@type": f"{TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": name,
        "codec_type": "AUTO", "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{TYPE}filters.http.router.v3.Router"}}]}
    if connect:
        manager["http2_protocol_options"] = {"allow_connect": True}
        manager["upgrade_configs"] = [{"upgrade_type": "CONNECT"}]
        route["match"] = {"connect_matcher": {}}
        route["route"]["upgrade_configs"] = [{"upgrade_type": "CONNECT", "connect_config": {}}]
    everything = [{"name": "all", "domains": ["*"], "routes": [route]}]
    manager["route_config"] = {"name": name, "virtual_hosts": hosts or everything}
    return listener(name, host, port, {"name": "http", "typed_config": manager}, certificates)


def tunnel_listener(name, host, port, to, authority):
    proxy = {
        "@type": f"{TYPE}filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": name, "cluster": to,
        "tunneling_config": {"hostname": authority}}
    return listener(name, host, port, {"name": "tcp", "typed_config": proxy}, None)


def listener(name, host, port, network_filter, certificates):
    chain = {"filters": [network_filter]}
    if certificates:
        chain["transport_socket"] = tls(certificates, server=True)
    return {"name": name, "address": address(host, port), "filter_chains": [chain]}


def bootstrap(listeners, clusters):
    return {"static_resources": {"listeners": listeners, "clusters": clusters}}


def configurations(server, certificates):
    """Each Envoy's name to its configuration; `server` is the server pod's address.

    `*-out` runs beside the client, `*-in` beside the server."""
    backend = cluster("backend", "127.0.0.1", BACKEND, http=1)
    opaque = cluster("backend", "127.0.0.1", BACKEND)
    return {
        "pair-in": bootstrap([http_listener("in", "0.0.0.0", PAIR_INBOUND, "backend", certificates)], [backend]),
        "pair-out": bootstrap(
            [http_listener("out", "127.0.0.1", PAIR, "peer")],
            [cluster("peer", server, PAIR_INBOUND, 2, certificates)]),
        "hbone-in": bootstrap(
            [http_listener("in", "0.0.0.0", HBONE_INBOUND, "backend", certificates, connect=True)], [opaque]),
        "hbone-out": bootstrap(
            [tunnel_listener("out", "127.0.0.1", HBONE, "peer", f"{server}:{BACKEND}")],
            [cluster("peer", server, HBONE_INBOUND, 2, certificates)]),
    }
