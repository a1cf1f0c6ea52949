"""The exec server of a node's kubelet, on loopback: commands run as processes of this machine, over WebSocket."""
import base64, hashlib, json, os, socket, ssl, struct, subprocess, threading, urllib.parse

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(opcode, payload):
    if len(payload) < 126:
        head = bytes([0x80 | opcode, len(payload)])
    elif len(payload) < 65536:
        head = bytes([0x80 | opcode, 126]) + struct.pack(">H", len(payload))
    else:
        head = bytes([0x80 | opcode, 127]) + struct.pack(">Q", len(payload))
    return head + payload


class Kubelet:
    """`rewrite` makes of a command of a pod the one that this machine runs, or None."""

    def __init__(self, folder, rewrite):
        self.rewrite = rewrite
        key, certificate = f"{folder}/kubelet.key", f"{folder}/kubelet.crt"
        if not os.path.exists(certificate):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
                "-subj", "/CN=node", "-days", "1"], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            with self.context.wrap_socket(connection, server_side=True) as tls:
                self.answer(tls)
        except OSError:
            pass

    def answer(self, tls):
        request = b""
        while b"\r\n\r\n" not in request:
            piece = tls.recv(4096)
            if not piece:
                return
            request += piece
        lines = request.decode().split("\r\n")
        url = urllib.parse.urlsplit(lines[0].split(" ")[1])
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        _, kind, namespace, pod, _ = url.path.split("/")
        command = self.rewrite(namespace, pod, urllib.parse.parse_qs(url.query).get("command", []))
        if kind != "exec" or command is None:
            tls.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\nconnection: close\r\n\r\nno such")
            return
        accept = base64.b64encode(hashlib.sha1((fields["sec-websocket-key"] + GUID).encode()).digest()).decode()
        protocol = fields["sec-websocket-protocol"].split(",")[0].strip()
        tls.sendall((f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n").encode())
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
        for channel, content in ((1, done.stdout), (2, done.stderr)):
            for start in range(0, len(content), 32768):
                tls.sendall(frame(2, bytes([channel]) + content[start:start + 32768]))
        status = {"metadata": {}, "status": "Success"}
        if done.returncode:
            status = {"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": str(done.returncode)}]}}
        tls.sendall(frame(2, b"\x03" + json.dumps(status).encode()) + frame(8, struct.pack(">H", 1000)))
        tls.recv(4096)
