"""A WebSocket client: websocket_client.py HOST PORT. Prints what it saw, as JSON."""
import packages  # noqa: F401, first: it says where websockets is.
import json, os, sys
from websockets.sync.client import connect

host, port = sys.argv[1:]
with connect(f"ws://{host}:{port}/room?a=b", max_size=1 << 24, subprotocols=["chat"], proxy=None) as socket:
    facts = {"hello": socket.recv(5), "subprotocol": socket.subprotocol, "compressed": bool(socket.protocol.extensions)}
    sizes = [0, 1, 125, 126, 65535, 65536, 1 << 20, 4 << 20]
    good = 0
    for size in sizes:
        data = os.urandom(size)
        socket.send(data)
        good += socket.recv(20) == data
    facts |= {"sizes": len(sizes), "good": good}
    for number in range(200):
        socket.send(str(number))
    facts["order"] = [socket.recv(5) for _ in range(200)] == [str(number) for number in range(200)]
    facts["pong"] = socket.ping().wait(5)
    socket.close(4001, "done")
    facts["code"] = socket.close_code
print(json.dumps(facts))
