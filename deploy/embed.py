#!/usr/bin/env python3
"""Writes what `kubectl kustomize` makes of deploy/ into the CLI's sources, each distinct object once, as JSON.

Usage: embed.py          writes Sources/CLI/Install/Generated/Manifests.swift
       embed.py --check  ends with status 1 where that file isn't what deploy/ says
"""
import json, os, subprocess, sys
import yaml

ROOT = os.path.dirname(os.path.abspath(__file__))
TARGET = os.path.join(ROOT, "../Sources/CLI/Install/Generated/Manifests.swift")
OVERLAYS = {
    "standard": "base", "small": "overlays/small", "highAvailability": "overlays/high-availability",
    "stubOnly": "overlays/stub-only",
}


def rendered(folder):
    text = subprocess.run(["kubectl", "kustomize", f"{ROOT}/{folder}"], check=True, capture_output=True, text=True).stdout
    return [json.dumps(document, separators=(",", ":"), ensure_ascii=False) for document in yaml.safe_load_all(text)]


def source():
    documents, overlays = [], {}
    for name, folder in OVERLAYS.items():
        objects = rendered(folder)
        documents += [text for text in objects if text not in documents]
        overlays[name] = [documents.index(text) for text in objects]
    lines = ["// Made of deploy/ by deploy/embed.py: don't edit. Tests/Kubernetes/test_install.py compares both.",
        "// swift-format-ignore-file", "", "/// What `kubectl kustomize` makes of deploy/.", "enum Manifests {",
        "  /// JSON, one object each.", "  static let documents: [String] = ["]
    for text in documents:
        assert '"##' not in text
        lines.append(f'    ##"{text}"##,')
    lines += ["  ]", "", "  /// Of each overlay the numbers of its documents."]
    lines += [f"  static let {name} = {numbers}" for name, numbers in overlays.items()]
    return "\n".join(lines + ["}", ""])


text = source()
if sys.argv[1:] == ["--check"]:
    with open(TARGET) as file:
        if file.read() != text:
            sys.exit("Sources/CLI/Install/Generated/Manifests.swift isn't what deploy/ says: run make manifests")
else:
    os.makedirs(os.path.dirname(TARGET), exist_ok=True)
    with open(TARGET, "w") as file:
        file.write(text)
