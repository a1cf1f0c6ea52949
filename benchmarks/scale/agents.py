"""The discovery streams of many agents: each acknowledges everything, keeps no resource, and tells when it got which."""
import queue, subprocess, threading, time

import grpc

TYPES = ["MeshConfig", "Service", "Workload", "Route", "TrafficPolicy"]
METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def fields(message):
    """(number, bytes) of the length-delimited fields of a message that has no others."""
    at = 0
    while at < len(message):
        values = []
        for _ in range(2):
            value = shift = 0
            while True:
                byte = message[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            values.append(value)
        yield values[0] >> 3, message[at:at + values[1]]
        at += values[1]


class Agent:
    """One stream. `count` resources were received in `bytes`; `seen` is asked about each response as it comes."""

    def __init__(self, node, target, folder, seen):
        self.node, self.seen = node, seen
        self.count = self.bytes = self.responses = 0
        self.answered = set()
        read = lambda name: open(f"{folder}/{name}", "rb").read()
        credentials = grpc.ssl_channel_credentials(read("ca.pem"), read("key.pem"), read("tls.pem"))
        self.channel = grpc.secure_channel(target, credentials, options=[
            ("grpc.max_receive_message_length", 64 << 20), ("grpc.use_local_subchannel_pool", 1)])
        self.requests = queue.SimpleQueue()
        for name in TYPES:
            self.requests.put(field(1, field(1, node.encode())) + field(2, self.url(name)) + field(3, b"*"))
        call = self.channel.stream_stream(METHOD, request_serializer=None, response_deserializer=None)
        self.responses_of = call(iter(self.requests.get, None))
        threading.Thread(target=self.run, daemon=True).start()

    @staticmethod
    def url(name):
        return f"type.googleapis.com/weft.mesh.v1.{name}".encode()

    def run(self):
        try:
            for message in self.responses_of:
                arrived = time.monotonic()
                kind = nonce = b""
                resources = 0
                for number, content in fields(message):
                    if number == 2:
                        resources += 1
                    elif number == 4:
                        kind = content
                    elif number == 5:
                        nonce = content
                self.requests.put(field(2, kind) + field(6, nonce))
                self.responses += 1
                self.count += resources
                self.bytes += len(message)
                self.answered.add(kind)
                self.seen(self, message, arrived)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.CANCELLED:
                raise

    def end(self):
        self.requests.put(None)
        self.responses_of.cancel()
        self.channel.close()


def certify(control, state, node, folder):
    subprocess.run([control, "issue", "--state-dir", state, "--spiffe-id", f"spiffe://cluster.local/node/{node}", "--out", folder], check=True, timeout=30)
