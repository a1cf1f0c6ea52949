"""A real weft-control process, and what an agent says to it."""
import os, shutil, signal, struct, subprocess, tempfile, urllib.error, urllib.request
from cluster import free_port


class Control:
    """One replica, with everything that it keeps in memory alone."""

    def __init__(self, program, cluster, name="one", server=None, arguments=(), ports=None, environment={}):
        self.cluster, self.name, self.ended = cluster, name, False
        self.folder = tempfile.mkdtemp(prefix=f"weft-control-{name}-", dir=cluster.folder)
        self.ports = ports or {port: free_port() for port in ("discovery", "join", "health", "webhook")}
        self.log = f"{self.folder}/log"
        log = open(self.log, "wb")
        self.process = subprocess.Popen(
            [program, "--kubeconfig", cluster.kubeconfig(server=server), "--namespace", "weft-system", "--pod-name", name,
                "--state-dir", f"{self.folder}/state", "--listen", "127.0.0.1",
                *(part for port, number in self.ports.items() for part in (f"--{port}-port", str(number))), *arguments],
            stdout=log, stderr=log, cwd=self.folder, env={**os.environ, **environment})
        log.close()

    def lines(self):
        with open(self.log) as file:
            return file.read()

    def status(self):
        with open(f"{self.folder}/state/status.json") as file:
            return file.read()

    def probe(self, name):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['health']}/healthz/{name}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def wait(self, what, condition, seconds=30):
        def check():
            assert self.process.poll() is None, f"{self.name} ended: {self.lines()[-3000:]}"
            return condition()
        try:
            return self.cluster.wait_until(check, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.lines()[-3000:]}") from None

    def ready(self):
        self.wait("readiness", lambda: self.probe("ready") == 200)
        return self

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is not None and self.ended:
            return
        self.ended = True
        self.process.send_signal(number)
        status = self.process.wait(20)
        assert status == 0 or number == signal.SIGKILL, f"ended with {status}: {self.lines()[-3000:]}"

    def join(self, token, identity, node, request=None):
        """Asks for a certificate: (gRPC status, message, the certificate in DER or None)."""
        request = field(1, node.encode()) + field(2, token.encode()) + field(3, request or signing_request(identity))
        return call(self.ports["join"], "/weft.identity.v1.NodeJoin/Join", request, self.folder)


def field(number, content):
    """A length-delimited protobuf field."""
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value):
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def first_field(message, number):
    """The first length-delimited field of that number."""
    offset = 0
    while offset < len(message):
        key, offset = read_varint(message, offset)
        length, offset = read_varint(message, offset)
        if key == number << 3 | 2:
            return message[offset:offset + length]
        offset += length
    return None


def read_varint(message, offset):
    value = shift = 0
    while True:
        byte = message[offset]
        value |= (byte & 0x7F) << shift
        shift, offset = shift + 7, offset + 1
        if byte < 0x80:
            return value, offset


def signing_request(identity):
    return subprocess.run(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null",
            "-subj", "/", "-addext", f"subjectAltName=URI:{identity}", "-outform", "DER"],
        check=True, capture_output=True).stdout


def call(port, method, message, folder):
    """A unary gRPC call: curl speaks the HTTP/2. Who serves is not what these tests are about."""
    folder = tempfile.mkdtemp(prefix="call-", dir=folder)
    body, answer, fields = (f"{folder}/{name}" for name in ("request", "answer", "fields"))
    with open(body, "wb") as file:
        file.write(b"\0" + struct.pack(">I", len(message)) + message)
    subprocess.run(
        ["curl", "--silent", "--show-error", "--insecure", "--http2", "--max-time", "40", "--data-binary", f"@{body}",
            "--header", "content-type: application/grpc", "--header", "te: trailers", "--dump-header", fields,
            "--output", answer, f"https://127.0.0.1:{port}{method}"], check=True)
    values = {}
    with open(fields) as file:
        for line in file:
            name, _, value = line.partition(":")
            values[name.strip().lower()] = value.strip()
    content = b""
    if os.path.exists(answer):
        with open(answer, "rb") as file:
            content = file.read()[5:]
    shutil.rmtree(folder)
    return int(values["grpc-status"]), values.get("grpc-message", ""), first_field(content, 1) if content else None
