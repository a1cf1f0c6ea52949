"""Passes a request on to the real API server, and its answer back as it comes: watches too."""
import http.client, time


def relay(handler, cluster, body, streams, pause=0):
    """`handler` is of http.server and has read `body`; `streams` holds the connection to the server meanwhile. `pause`: seconds
    before each piece of the answer."""
    upstream = cluster.connection()
    connection = None
    try:
        fields = {name: value for name, value in handler.headers.items() if name.lower() not in ("host", "connection")}
        upstream.request(handler.command, handler.path, body, fields)
        answer = upstream.getresponse()
        connection = upstream.sock
        streams.add(connection)
        handler.send_response(answer.status)
        for name in ("content-type", "retry-after"):
            if answer.getheader(name):
                handler.send_header(name, answer.getheader(name))
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        while chunk := answer.read1(65536):
            time.sleep(pause)
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            handler.wfile.flush()
        handler.wfile.write(b"0\r\n\r\n")
    except (OSError, http.client.HTTPException, ValueError):
        handler.close_connection = True
    finally:
        streams.discard(connection)
        upstream.close()
