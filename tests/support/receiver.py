"""A receiver of webhooks on loopback: answers as told, remembers what it was sent."""

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Got:
    """One request."""

    path: str
    headers: dict
    body: bytes
    status: int = 204
    """Status code of the response."""
    at: float = field(default_factory=time.time)
    """Time of its arrival, in seconds since the epoch."""

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def id(self):
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    port: int
    answers: list = field(default_factory=list)
    """(status, headers, body) for the next requests; then 204."""
    got: list[Got] = field(default_factory=list)
    slow_s: float = 0.0
    """Seconds until each response."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def host(self):
        """For the settings: this port and no other."""
        return f"127.0.0.1:{self.port}"

    def will(self, status, headers=None, body=b""):
        self.answers.append((status, headers or {}, body))


@contextmanager
def receiving():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.receiver = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.receiver
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, more, text = receiver.answers.pop(0) if receiver.answers else (204, {}, b"")
        receiver.got.append(Got(self.path, headers, body, status))
        time.sleep(receiver.slow_s)
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        self.close_connection = True

    do_GET = do_POST

    def log_message(self, *_):
        """Say nothing."""
