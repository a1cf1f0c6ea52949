"""An HBONE client by hand: tunnel.py HOST METHOD AUTHORITY [CERTIFICATES [tls1.2]]. CERTIFICATES is a folder with tls.pem and
key.pem. Prints what became of it as JSON."""
import json, socket, ssl, struct, sys

DIGITS = {f"{n:05b}": str(n) for n in range(3)} | {f"{n + 22:06b}": str(n) for n in range(3, 10)}


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field without indexing (RFC 7541 §6.2.2)."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def status(block):
    """The :status of a header block's first field."""
    first = block[0]
    if first & 0x80:
        return {8: "200", 9: "204", 10: "206", 11: "304", 12: "400", 13: "404", 14: "500"}.get(first & 0x7f, "?")
    at = 1
    if first & 0x3f == 0 or first in (0x00, 0x10, 0x40):
        at += 1 + (block[1] & 0x7f)
    length = block[at] & 0x7f
    value = block[at + 1:at + 1 + length]
    if not block[at] & 0x80:
        return value.decode()
    bits, text = "".join(f"{byte:08b}" for byte in value), ""
    while len(text) < 3:
        for size in (5, 6):
            if bits[:size] in DIGITS:
                text, bits = text + DIGITS[bits[:size]], bits[size:]
                break
        else:
            return "?"
    return text


def exact(stream, count):
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise ConnectionError("the end")
        data += piece
    return data


def main():
    host, method, authority = sys.argv[1:4]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whom the server is isn't what is tested here.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if len(sys.argv) > 4:
        context.load_cert_chain(f"{sys.argv[4]}/tls.pem", f"{sys.argv[4]}/key.pem")
    if len(sys.argv) > 5:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    fields = literal(":method", method) + literal(":authority", authority)
    if method != "CONNECT":
        fields += literal(":scheme", "http") + literal(":path", "/")
    try:
        with socket.create_connection((host, 15008), 5) as plain, context.wrap_socket(plain) as s:
            s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, fields))
            while True:
                head = exact(s, 9)
                payload = exact(s, int.from_bytes(head[:3], "big"))
                if head[3] == 1:
                    break
            result = {"status": status(payload)}
            if result["status"] == "200":
                payload = b""
                while head[3] != 0 or not payload:
                    head = exact(s, 9)
                    payload = exact(s, int.from_bytes(head[:3], "big"))
                result["line"] = json.loads(payload)
            return result
    except ssl.SSLError as error:
        return {"status": "none", "error": error.reason or str(error)}
    except OSError as error:
        return {"status": "none", "error": str(error)}


print(json.dumps(main()))
