"""Environment variables of processes are valid Prefect settings and have the intended effect."""

import http.server
import os
import subprocess
import sys
import threading

from deployments.stack.environment import server_environment, ui_cors_environment, worker_environment
from tasks.settings import Settings

CROSS_ORIGIN = """
from starlette.testclient import TestClient
from deployments.stack.prefect_server import create_app
client = TestClient(create_app())
for page in ("https://evil.example", "http://localhost:4200"):
    origin = {"Origin": page}
    wish = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    asked = client.options("/api/deployments/filter", headers=wish | origin)
    read = client.get("/api/health", headers=origin)
    print(asked.status_code, [a.headers.get("access-control-allow-origin") for a in (asked, read)])
"""
SERIALIZER = """
from prefect.settings import get_current_settings
print(get_current_settings().results.default_serializer)
"""

HELLO = """
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    print(client.hello().status_code)
"""


def said(code, environment, home):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env = kept | environment | {"PREFECT_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_no_page_of_another_origin_uses_prefect(tmp_path):
    told = said(CROSS_ORIGIN, server_environment(Settings(home=tmp_path)), tmp_path)

    assert told == ["400 [None, None]"] * 2


def test_its_own_pages_do_by_either_name_of_this_computer(tmp_path):
    environment = server_environment(Settings(home=tmp_path)) | ui_cors_environment(4200)
    told = said(CROSS_ORIGIN, environment, tmp_path)

    assert told == ["400 [None, None]", "200 ['http://localhost:4200', 'http://localhost:4200']"]


def test_no_process_of_a_worker_stores_pickles(tmp_path):
    assert said(SERIALIZER, worker_environment(Settings(home=tmp_path)), tmp_path) == ["json"]


def test_a_request_that_a_server_answers_with_an_internal_error_is_repeated(tmp_path):
    """A server answers so while its Redis or its database does not respond."""
    statuses = [500, 200]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.endswith("/hello"):
                self.send_response(statuses.pop(0))
            else:
                self.send_response(404)
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = {
            "PREFECT_API_URL": f"http://127.0.0.1:{server.server_port}/api",
            "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
        }
        printed = said(HELLO, worker_environment(Settings(home=tmp_path)) | url, tmp_path)
        server.shutdown()
    assert printed[-1] == "200" and not statuses
