"""
The S3 server of the tests as a process that may be killed: `python durable_s3.py PORT FILE BUCKET ...`.

moto keeps objects in memory. Here every change is written to a file before it is acknowledged, and a restart
repeats the file; changes are made one at a time, so that a conditional write is one step, as on S3. Uploads
in parts do not survive a restart: their ids are new.
"""

import base64
import io
import json
import sys
import threading
from pathlib import Path

CHANGES = {"PUT", "POST", "DELETE"}


class DurableApp:
    """WSGI middleware that logs the changes that an application has accepted, and repeats them."""

    def __init__(self, app, log: Path):
        self._app, self._lock = app, threading.Lock()
        if log.exists():
            for line in log.read_text().splitlines():
                self._repeat(json.loads(line))
        self._log = log.open("a")

    def __call__(self, environ, start_response):
        if environ["REQUEST_METHOD"] not in CHANGES:
            return self._app(environ, start_response)
        body = self._read_body(environ)
        with self._lock:
            status, headers, answer = self._call(environ, body)
            if status < "4":
                kept = {key: value for key, value in environ.items() if isinstance(value, str)}
                self._log.write(json.dumps({"environ": kept, "body": base64.b64encode(body).decode()}) + "\n")
                self._log.flush()
        start_response(status, headers)
        return [answer]

    def _repeat(self, record):
        from werkzeug.test import create_environ

        environ = create_environ() | record["environ"]
        status, _, answer = self._call(environ, base64.b64decode(record["body"]))
        assert status < "4", answer

    def _call(self, environ, body):
        environ = environ | {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        said = []
        answer = self._app(environ, lambda status, headers, exc_info=None: said.append((status, headers)))
        return *said[-1], b"".join(answer)

    @staticmethod
    def _read_body(environ):
        if environ.get("wsgi.input_terminated"):
            return environ["wsgi.input"].read()
        return environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))


def main(port, log, *buckets):
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from moto.server import MotoRequestHandler
    from werkzeug.serving import make_server
    from werkzeug.test import Client

    log = Path(log)
    is_new = not log.exists()
    app = DurableApp(DomainDispatcherApplication(create_backend_app), log)
    if is_new:
        for bucket in buckets:
            answer = Client(app).put(f"/{bucket}", base_url=f"http://127.0.0.1:{port}")
            assert answer.status_code == 200, answer.text
    make_server(
        "127.0.0.1", int(port), app, threaded=True, request_handler=MotoRequestHandler
    ).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
