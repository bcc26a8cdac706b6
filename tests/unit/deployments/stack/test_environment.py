"""Environment variables of processes are valid Prefect settings and have the intended effect."""

import os
import subprocess
import sys

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
