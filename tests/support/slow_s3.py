"""A proxy on loopback before an S3 server, which takes its time over parts of uploads."""

import http.client
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class SlowS3:
    """State of the proxy: its settings and the requests that it received."""

    def __init__(self, endpoint):
        """
        Stand before a server.

        Args:
            endpoint: of the server.
        """
        self.behind = urlsplit(endpoint)
        self.url = ""
        self.delay_s = 0.0
        """How long each part of a result waits before it is passed on; shared artefacts are spared."""
        self.refuse_parts = False
        """Parts are answered with an error and never passed on."""
        self.parts = threading.Semaphore(0)
        """Released once for each such part that has arrived here."""
        self.asked = []
        self.closing = threading.Event()

    def pass_on(self, request):
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length)
        self.asked.append(f"{request.command} {request.path}")
        is_part = request.command == "PUT" and "partNumber=" in request.path
        if is_part and "/artefacts/" not in request.path:
            self.parts.release()
            self.closing.wait(self.delay_s)
            if self.refuse_parts:
                request.send_response(400)
                request.send_header("Content-Length", "0")
                request.end_headers()
                return
        server = http.client.HTTPConnection(self.behind.hostname, self.behind.port, timeout=60)
        dropped = {"expect", "connection"}
        headers = {name: value for name, value in request.headers.items() if name.lower() not in dropped}
        server.request(request.command, request.path, body, headers)
        answer = server.getresponse()
        content = answer.read()
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection", "content-length", "date", "server"}:
                request.send_header(name, value)
        is_head = request.command == "HEAD"
        told = answer.getheader("Content-Length", "0") if is_head else str(len(content))
        if answer.status != 204:
            request.send_header("Content-Length", told)
        request.end_headers()
        request.wfile.write(b"" if is_head else content)
        server.close()


@contextmanager
def slow_s3(endpoint):
    """Run a proxy before `endpoint`."""
    slow = SlowS3(endpoint)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            try:
                slow.pass_on(self)
            except OSError:
                self.close_connection = True  # the caller has gone

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, *_):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    slow.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield slow
    slow.closing.set()
    server.shutdown()
    server.server_close()
