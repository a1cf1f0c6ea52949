"""What an agent does on the wire, over Python's gRPC: it follows the control plane and confirms or refuses what it gets."""
import os, queue, subprocess, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../EndToEndTests/Programs"))
import packages  # noqa: F401: says where grpcio is
import grpc
from control import field, read_varint

TYPES = [f"type.googleapis.com/weft.mesh.v1.{name}" for name in ("MeshConfig", "TrafficPolicy", "Route", "Service", "Workload")]
REPORT = "/weft.node.v1.NodeReport/ReportPods"
METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


def fields(message):
    """(number, content) of every length-delimited field."""
    offset = 0
    while offset < len(message):
        key, offset = read_varint(message, offset)
        if key & 7 == 0:
            _, offset = read_varint(message, offset)
            continue
        length, offset = read_varint(message, offset)
        yield key >> 3, message[offset:offset + length]
        offset += length


class Agent:
    """A stream to one replica, with the state that it resumes from."""

    def __init__(self, node, key, certificate, roots, state=None, refuse=lambda type_url, name: None):
        self.node, self.refuse = node, refuse
        self.credentials = grpc.ssl_channel_credentials(roots, key, certificate)
        # Type -> name -> version; and how many bytes of resources came on this stream.
        self.state = state if state is not None else {url: {} for url in TYPES}
        self.answered, self.received, self.changed = set(), 0, threading.Condition()
        # The fewest resources of each type that it has had since it knew all.
        self.fewest = {}

    def connect(self, port):
        self.requests = queue.Queue()
        self.channel = grpc.secure_channel(f"127.0.0.1:{port}", self.credentials, [
            ("grpc.ssl_target_name_override", "weft-control"), ("grpc.max_receive_message_length", 1 << 26)])
        self.answered, self.received = set(), 0
        for url in TYPES:
            versions = [field(5, field(1, name.encode()) + field(2, version.encode())) for name, version in self.state[url].items()]
            self.requests.put(field(1, field(1, self.node.encode())) + field(2, url.encode()) + field(3, b"*") + b"".join(versions))
        self.call = self.channel.stream_stream(METHOD, lambda message: message, lambda message: message)(iter(self.requests.get, None))
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()
        return self

    def follow(self):
        try:
            for response in self.call:
                self.take(response)
        except grpc.RpcError as error:
            self.ended = error.code()
        with self.changed:
            self.changed.notify_all()

    def take(self, response):
        url = nonce = ""
        resources, removed, refused = [], [], []
        for number, content in fields(response):
            if number == 2:
                part = dict(fields(content))
                resources.append((part[3].decode(), part[1].decode(), part.get(2, b"")))
            elif number == 4:
                url = content.decode()
            elif number == 5:
                nonce = content.decode()
            elif number == 6:
                removed.append(content.decode())
        for name, version, value in resources:
            reason = self.refuse(url, name)
            if reason:
                refused.append(f"{name}: {reason}")
            else:
                self.state[url][name] = version
        for name in removed:
            self.state[url].pop(name, None)
        answer = field(2, url.encode()) + field(6, nonce.encode())
        if refused:
            answer += field(7, bytes([8, 3]) + field(2, "\n".join(refused).encode()))
        self.requests.put(answer)
        with self.changed:
            self.received += sum(len(value) for _, _, value in resources)
            self.answered.add(url)
            self.fewest[url] = min(len(self.state[url]), self.fewest.get(url, len(self.state[url])))
            self.changed.notify_all()

    def report(self, **pods):
        """Says why it doesn't carry pods: the gRPC status."""
        content = b"".join(field(1, field(1, name.replace("_", "/").encode()) + field(2, reason.encode())) for name, reason in pods.items())
        try:
            self.channel.unary_unary(REPORT, lambda message: message, lambda message: message)(content, timeout=10)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    def wait(self, condition, what, seconds=20):
        with self.changed:
            if not self.changed.wait_for(lambda: condition(self), seconds):
                raise AssertionError(f"waited {seconds} s for {what}: {self.state}")
        return self

    def close(self):
        self.requests.put(None)
        self.call.cancel()
        self.channel.close()
        self.thread.join(5)


def pem(certificate):
    return subprocess.run(["openssl", "x509", "-inform", "DER"], input=certificate, check=True, capture_output=True).stdout


def request(identity):
    """A new key and its signing request, DER."""
    key = subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        check=True, capture_output=True).stdout
    made = subprocess.run(["openssl", "req", "-new", "-key", "/dev/stdin", "-subj", "/",
        "-addext", f"subjectAltName=URI:{identity}", "-outform", "DER"], input=key, check=True, capture_output=True).stdout
    return key, made
