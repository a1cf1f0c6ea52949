"""gRPC of all four kinds: grpc_client.py HOST PORT. Prints what each call gave, as JSON."""
import packages  # noqa: F401, first: it says where grpc is.
import json, sys, time
import grpc

channel = grpc.insecure_channel(f"{sys.argv[1]}:{sys.argv[2]}", options=[("grpc.max_receive_message_length", -1)])


def pairs(metadata):
    return sorted([k, v if isinstance(v, str) else v.hex()] for k, v in metadata if k.startswith("x-"))


def of(kind, method):
    return getattr(channel, kind)(f"/test.Kinds/{method}")


def failure(call):
    started = time.monotonic()
    got = []
    try:
        result = call()
        if not isinstance(result, bytes):
            for piece in result:
                got.append(piece.decode())
        return {"code": "OK"}
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details(), "got": got, "trailing": pairs(
            error.trailing_metadata() or ()), "milliseconds": int((time.monotonic() - started) * 1000)}


facts = {}
answer, call = of("unary_unary", "Unary").with_call(b"abc", timeout=10)
facts["unary"] = {"answer": answer.decode(), "initial": pairs(call.initial_metadata()),
                  "trailing": pairs(call.trailing_metadata()), "code": call.code().name}
facts["server stream"] = [piece.decode() for piece in of("unary_stream", "ServerStream")(b"500", timeout=10)] \
    == [str(number) for number in range(500)]
facts["client stream"] = of("stream_unary", "ClientStream")((b"x" * 30_000 for _ in range(100)), timeout=10).decode()


def turns():
    """Each message goes when the answer to the one before has come: nothing on the way may wait for more."""
    import queue
    ready = queue.Queue()
    ready.put(b"0")
    answers = []
    for piece in of("stream_stream", "Both")(iter(ready.get, None), timeout=10):
        answers.append(piece.decode())
        ready.put(b"%d" % len(answers) if len(answers) < 50 else None)
    return answers == [f"echo {number}" for number in range(50)]


facts["both"] = turns()
facts["large"] = len(of("unary_unary", "Unary")(b"z" * (16 << 20), timeout=20))
facts["empty"] = len(of("unary_unary", "Unary")(b"", timeout=10))
facts["fail"] = failure(lambda: of("unary_unary", "Fail")(b"", timeout=10))
facts["fail midway"] = failure(lambda: of("unary_stream", "FailMidway")(b"", timeout=10))
facts["unknown"] = failure(lambda: of("unary_unary", "Nothing")(b"", timeout=10))
facts["deadline"] = failure(lambda: of("unary_unary", "Sleep")(b"20", timeout=2))
facts["deadline heard"] = of("unary_unary", "WasCancelled")(b"", timeout=10).decode()
pending = of("unary_unary", "Sleep").future(b"20", timeout=30)
time.sleep(2)
pending.cancel()
facts["cancel heard"] = of("unary_unary", "WasCancelled")(b"", timeout=10).decode()
# Behind all that the connection still serves, many calls at once.
futures = [of("unary_unary", "Unary").future(b"%d" % number, timeout=10) for number in range(300)]
facts["at once"] = sum(future.result() == (b"%d" % number)[::-1] for number, future in enumerate(futures))
print(json.dumps(facts))
