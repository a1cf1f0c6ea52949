"""Sends requests and prints the answers. Usage: ask.py JSON.

Of the JSON's list of requests each gets an answer of its own; with "count" it is sent that often, and the answer is how
many came from which server, else with which status ("tally"). One request has: protocol (http, grpc, line), to, port,
host (of the header), method, path, headers, bytes (of the body), count, timeout in seconds.
"""
import collections, http.client, json, socket, sys
from concurrent import futures

import packages  # noqa: F401 (finds grpc)


def ask_http(request, kept=None):
    connection = kept or http.client.HTTPConnection(request["to"], request["port"], timeout=request["timeout"])
    try:
        connection.putrequest(request["method"], request["path"], skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", request["host"])
        for name, value in request["headers"].items():
            connection.putheader(name, value)
        body = b"x" * request["bytes"]
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        text = response.read()
        headers = collections.defaultdict(list)
        for name, value in response.getheaders():
            headers[name.lower()].append(value)
        return {"status": response.status, "headers": headers, "body": parsed(text)}
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return {"status": 0, "error": repr(error)}
    finally:
        if not kept:
            connection.close()


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return text.decode(errors="replace")


def grpc_channel(request):
    import grpc
    # The one that reads resolv.conf's search list through the C library.
    return grpc.insecure_channel(f"dns:///{request['to']}:{request['port']}",
                                 [("grpc.default_authority", request["host"]), ("grpc.enable_http_proxy", 0)])


def ask_grpc(request, channel):
    import grpc
    call = channel.unary_unary(request["path"])
    try:
        text, rest = call.with_call(b"x" * request["bytes"], request["timeout"], list(request["headers"].items()))
        headers = collections.defaultdict(list)
        for name, value in (*rest.initial_metadata(), *rest.trailing_metadata()):
            headers[name].append(value)
        return {"status": 0, "headers": headers, "body": parsed(text)}
    except grpc.RpcError as error:
        return {"status": error.code().value[0], "error": error.details()}


def ask_line(request):
    try:
        with socket.create_connection((request["to"], request["port"]), request["timeout"]) as connection:
            connection.sendall(b"hello\n")
            name, _, line = connection.makefile().readline().partition(" ")
            return {"status": 200 if line == "hello\n" else 0, "headers": {}, "body": {"name": name}}
    except OSError as error:
        return {"status": 0, "error": repr(error)}


def answer(request):
    count, protocol = request["count"], request["protocol"]
    kept = [None]
    if protocol == "grpc":
        kept = [grpc_channel(request)]
    elif count > 1 and protocol == "http":
        # One of four connects anew for each request.
        kept = [http.client.HTTPConnection(request["to"], request["port"], timeout=request["timeout"]) for _ in range(3)]
        kept.append(None)

    def some(index):
        one = {"http": ask_http, "grpc": ask_grpc, "line": lambda request, _: ask_line(request)}[protocol]
        return [one(request, kept[index]) for _ in range(index, count, len(kept))]

    with futures.ThreadPoolExecutor(len(kept)) as threads:
        answers = [answer for answers in threads.map(some, range(len(kept))) for answer in answers]
    if count == 1:
        return answers[0]
    def name(answer):
        body = answer.get("body")
        return body["name"] if isinstance(body, dict) else str(answer["status"])
    return {"tally": collections.Counter(map(name, answers))}


requests = json.loads(sys.argv[1])
with futures.ThreadPoolExecutor(4) as threads:
    print(json.dumps(list(threads.map(answer, requests))))
