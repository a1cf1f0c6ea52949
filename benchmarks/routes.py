"""The ten rules that the routed workloads are routed by: once for every system that applies them."""
import json
import os

from common import WORK

AUTHORITY = "shop.example"
HEADER = "x-version"
AREAS = ["catalog", "cart", "orders", "payments", "users"]
VERSIONS = ["v1", "v2"]
RULES = [(area, version) for area in AREAS for version in VERSIONS]
"""In the order in which a proxy that looks at one after the other looks."""
AREA, VERSION = RULES[7]
"""What the load asks for: the eighth."""
TABLES = {"table-10": 10, "table-1000": 1000}
GROUP = "gateway.networking.k8s.io/v1"


def grpc_service(area):
    return f"bench.{area.capitalize()}"


def envoy(cluster, grpc=False):
    """A virtual host of the rules; what no rule matches is answered by 404."""
    routes = []
    for area, version in RULES:
        path = {"prefix": f"/{grpc_service(area)}/"} if grpc else {"path_separated_prefix": f"/api/{area}"}
        header = {"name": HEADER, "string_match": {"exact": version}}
        routes.append({"match": {**path, "headers": [header]}, "route": {"cluster": cluster, "timeout": "0s"}})
    return {"name": "shop", "domains": [AUTHORITY], "routes": routes}


def haproxy():
    """The lines of a frontend whose backends are `out` and `refused`."""
    lines = [f" http-request deny deny_status 404 unless {{ hdr(host) -i {AUTHORITY} }}"]
    lines += [f" acl {area} path /api/{area}\n acl {area} path_beg /api/{area}/" for area in AREAS]
    lines += [f" acl {version} req.hdr({HEADER}) -m str {version}" for version in VERSIONS]
    lines += [f" use_backend out if {area} {version}" for area, version in RULES]
    return "\n".join(lines + [" default_backend refused"])


def nginx():
    """A map of each area's versions, and the locations that ask it; upstream `out`."""
    maps = [f"map $http_{HEADER.replace('-', '_')} ${area} {{\n  default '';\n"
            + "".join(f"  {version} out;\n" for of, version in RULES if of == area) + "}" for area in AREAS]
    locations = []
    for area in AREAS:
        inner = f"{{ if (${area} = '') {{ return 404; }} proxy_pass http://${area}; }}"
        locations += [f"location = /api/{area} {inner}", f"location /api/{area}/ {inner}"]
    return "\n".join(maps), "\n".join(locations)


def reference(service):
    return {"group": "", "kind": "Service", "name": service, "port": 80}


def route(kind, name, service, rules):
    return {
        "apiVersion": GROUP, "kind": kind,
        "metadata": {"name": name, "namespace": "bench"},
        "spec": {"parentRefs": [reference(service)], "hostnames": [AUTHORITY], "rules": rules}}


def header_match(version):
    return [{"type": "Exact", "name": HEADER, "value": version}]


def prefix_rule(path, version, backend):
    match = {"path": {"type": "PathPrefix", "value": path}, "headers": header_match(version)}
    return {"matches": [match], "backendRefs": [reference(backend)]}


def weft():
    """The routes of every workload's Services."""
    made = []
    for place in ("local", "remote"):
        for service in (f"routed-{place}", f"http2-{place}"):
            rules = [prefix_rule(f"/api/{area}", version, service) for area, version in RULES]
            made.append(route("HTTPRoute", service, service, rules))
        service = f"grpc-{place}"
        made.append(route("GRPCRoute", service, service, [
            {"matches": [{"method": {"type": "Exact", "service": grpc_service(area)},
                          "headers": header_match(version)}],
             "backendRefs": [reference(service)]} for area, version in RULES]))
    return made


def table(service):
    """One HTTPRoute per rule, so many as the table has; and the path that the last of them matches."""
    count = TABLES[service]
    made = [route("HTTPRoute", f"{service}-{number}", service,
                  [prefix_rule(f"/api/table/{number}", VERSION, service)]) for number in range(count)]
    return made, f"/api/table/{count - 1}/1k"


def changing(generation):
    """Another backend than the one before, and its number in the answers."""
    backend = ("routed-local", "routed-remote")[generation % 2]
    rule = prefix_rule("/api", VERSION, backend)
    stamp = {"set": [{"name": "x-generation", "value": str(generation)}]}
    rule["filters"] = [{"type": "ResponseHeaderModifier", "responseHeaderModifier": stamp}]
    return [route("HTTPRoute", "changing", "changing", [rule])]


def apply(lab, name, objects):
    """Puts objects into the running lab; BenchError with the control plane's reason where it refuses one."""
    folder = os.path.join(WORK, "routes")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"{name}.yaml")
    with open(path, "w") as file:
        # JSON is YAML, one document each.
        file.write("\n---\n".join(json.dumps(thing) for thing in objects) + "\n")
    lab.apply(path)
