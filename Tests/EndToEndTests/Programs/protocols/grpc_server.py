"""A gRPC server with a method of each kind, on 9108: messages are bytes as they are. Usage: grpc_server.py NAME."""
import packages  # noqa: F401, first: it says where grpc is.
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import grpc

NAME = sys.argv[1]
cancelled = threading.Event()


def unary(request, context):
    context.send_initial_metadata((("x-initial", "first"),))
    context.set_trailing_metadata((("x-trailing", "last"), ("x-data-bin", b"\x00\xff")))
    return request[::-1]


def server_stream(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def client_stream(requests, context):
    return b"%d" % sum(len(piece) for piece in requests)


def both(requests, context):
    """Says first who answers, and which stamps of a route the call came with."""
    stamps = [value for name, value in context.invocation_metadata() if name == "x-generation"]
    context.send_initial_metadata((("x-name", NAME), ("x-asked", ",".join(stamps))))
    for piece in requests:
        yield b"echo " + piece


def fail(request, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: 100% ü")


def fail_midway(request, context):
    yield b"one"
    yield b"two"
    context.abort(grpc.StatusCode.DATA_LOSS, "lost")


def sleep(request, context):
    context.add_callback(lambda: None if finished.is_set() else cancelled.set())
    finished = threading.Event()
    until = time.monotonic() + float(request)
    while time.monotonic() < until and context.is_active():
        time.sleep(0.01)
    if context.is_active():
        finished.set()
    return b"%.2f" % (context.time_remaining() or -1)


def was_cancelled(request, context):
    """Whether a call before was; and forgets it."""
    result = cancelled.wait(8)
    cancelled.clear()
    return b"yes" if result else b"no"


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "FailMidway": grpc.unary_stream_rpc_method_handler(fail_midway),
    "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
    "WasCancelled": grpc.unary_unary_rpc_method_handler(was_cancelled),
}
options = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
server = grpc.server(ThreadPoolExecutor(16), options=options)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Kinds", HANDLERS),))
server.add_insecure_port("[::]:9108")
server.start()
server.wait_for_termination()
