"""The workloads whose requests are read and routed: which systems, which request, and that the rules are in force."""
import os
import re
import subprocess

from common import WORK, BenchError
import h2
import loads
import routes
import systems

WORKLOADS = ["http1-routed", "http2-unary", "grpc-unary", "http1-one-hop-routed"]
BODY_BYTES, QUESTION_BYTES, PREFIX_BYTES = 1024, 64, 5
PATH = f"/api/{routes.AREA}/1k"
# nghttpd knows a body's type by the name's end only.
GRPC_PATH = f"/{routes.grpc_service(routes.AREA)}/Ask.grpc"
GRPC_HEADERS = ["content-type: application/grpc", "te: trailers"]
HOST, VERSION = f"Host: {routes.AUTHORITY}", f"{routes.HEADER}: {routes.VERSION}"
QUESTION = os.path.join(WORK, "question.grpc")


def message(count):
    """Of gRPC: not compressed, the length, the bytes."""
    return b"\0" + count.to_bytes(4, "big") + b"x" * count


def make_files():
    """What nghttpd serves, and what a gRPC client asks."""
    for path, content in [
            (os.path.join(WORK, "www", PATH[1:]), b"x" * BODY_BYTES),
            (os.path.join(WORK, "www", GRPC_PATH[1:]), message(BODY_BYTES)), (QUESTION, message(QUESTION_BYTES))]:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)


def systems_of(workload, lab, proxies):
    if workload == "http1-one-hop-routed":
        return systems.one_hop_routed(lab, proxies)
    return systems.routed(lab, proxies, workload.split("-")[0])


def load(lab, workload):
    """A function of a system and seconds, as of the other workloads."""
    authority = f":authority: {routes.AUTHORITY}"

    def one(system, seconds):
        verify(lab, system, workload)
        if workload == "http2-unary":
            return h2.load(lab, system, seconds, PATH, [authority, VERSION], BODY_BYTES)
        if workload == "grpc-unary":
            headers = [authority, VERSION, *GRPC_HEADERS]
            return h2.load(lab, system, seconds, GRPC_PATH, headers, PREFIX_BYTES + BODY_BYTES, QUESTION)
        return loads.http(lab, system, seconds, path=PATH, headers=[HOST, VERSION])
    return one


def verify(lab, system, workload, path=PATH):
    """A request that a rule matches is answered, one that none matches isn't: else routing isn't what is measured."""
    def served(version):
        if workload == "grpc-unary":
            return ask_grpc(lab, system, version)
        return ask(lab, system, path, version, [] if workload.startswith("http1") else ["--http2-prior-knowledge"])

    good, answer = served(VERSION)
    if not good:
        raise BenchError(f"{system.name} doesn't serve the routed request: {answer}")
    if system.name != "direct" and served(f"{routes.HEADER}: none")[0]:
        raise BenchError(f"{system.name} serves what no route matches: the routes aren't in force")


def ask(lab, system, path, version, options):
    """Whether the answer is 200 and whole, and what it was."""
    said = "status %{http_code}, %{size_download} bytes, %{errormsg}"
    argv = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", said,
            "-H", HOST, "-H", version, *options, f"http://{system.host}:{system.port}{path}"]
    answer = output(lab, system, argv)
    return answer.startswith(f"status 200, {BODY_BYTES} bytes"), answer


def ask_grpc(lab, system, version):
    """Whether the answer ends with the status 0; nghttp shows trailers, curl doesn't."""
    options = [part for field in [f":authority: {routes.AUTHORITY}", version, *GRPC_HEADERS] for part in ("-H", field)]
    answer = output(lab, system, [
        "nghttp", "-nv", "-t5", *options, "-d", QUESTION, f"http://{system.host}:{system.port}{GRPC_PATH}"])
    fields = re.findall(r"recv \(stream_id=\d+\) (:status: \d+|grpc-status: \d+|grpc-message: .*)", answer)
    return fields == [":status: 200", "grpc-status: 0"], ", ".join(fields) or answer[-300:]


def output(lab, system, argv):
    """Whatever its exit status."""
    try:
        done = subprocess.run(lab.inside(system.client, argv), capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:
        return f"{argv[0]} didn't end"
    return done.stdout + done.stderr
