#!/usr/bin/env python3
"""Makes these files of the Gateway API's CustomResourceDefinitions (experimental channel) in a checkout of
github.com/kubernetes-sigs/gateway-api: of each kind its newest version only, without descriptions and CEL rules, which a
server of Kubernetes 1.20 doesn't take. Usage: reduce.py CHECKOUT TAG"""
import os, subprocess, sys, yaml

KINDS = ["grpcroutes", "httproutes", "referencegrants", "tcproutes", "tlsroutes"]


def reduced(value):
    if isinstance(value, list):
        return [reduced(element) for element in value]
    if not isinstance(value, dict):
        return value
    names = value.get("properties")
    result = {}
    for key, element in value.items():
        if key == "x-kubernetes-validations" or key == "description" and isinstance(element, str):
            continue
        # kube-apiserver 1.20 as Go 1.19 builds it takes "" for null: it has to be allowed, and can't be a default.
        if key == "default" and element == "":
            continue
        # Properties may be called as what is left out.
        result[key] = {name: reduced(part) for name, part in names.items()} if key == "properties" else reduced(element)
    if result.get("type") == "string" and (value.get("default") == "" or value.get("pattern", "").startswith("^$|")):
        result["nullable"] = True
    return result


checkout, tag = sys.argv[1:]
for kind in KINDS:
    path = f"{tag}:config/crd/experimental/gateway.networking.k8s.io_{kind}.yaml"
    text = subprocess.run(["git", "-C", checkout, "show", path], check=True, capture_output=True, text=True).stdout
    # Some have a ValidatingAdmissionPolicy beside them.
    crd = next(d for d in yaml.safe_load_all(text) if d and d["kind"] == "CustomResourceDefinition")
    crd.pop("status", None)
    version = next(v for v in crd["spec"]["versions"] if v["name"] == "v1")
    version["storage"] = version["served"] = True
    version["schema"] = reduced(version["schema"])
    crd["spec"]["versions"] = [version]
    with open(f"{os.path.dirname(os.path.abspath(__file__))}/{kind}.yaml", "w") as file:
        file.write(f"# Of sigs.k8s.io/gateway-api {tag}, Apache License 2.0 (LICENSE), reduced by reduce.py.\n")
        yaml.safe_dump(crd, file, width=120)
