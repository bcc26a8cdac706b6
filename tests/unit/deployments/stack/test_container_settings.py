"""Container settings: a health check that others reach, an open API on request, a writable folder."""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
import typer

from api.auth.api_keys import PublicWithoutKeys, require_keys_when_public
from deployments.cli.errors import require_writable_home, user_errors, with_program
from deployments.stack.commands import prefect_server_command
from deployments.stack.environment import health_environment
from tasks.settings import Settings
from tasks.settings.api import ApiSettings


def test_a_worker_s_health_is_served_where_the_settings_say():
    assert health_environment(None, "0.0.0.0") == {}
    assert health_environment(8081, "0.0.0.0")["PREFECT_WORKER_WEBSERVER_HOST"] == "0.0.0.0"


def test_an_api_without_keys_is_public_only_on_request():
    with pytest.raises(PublicWithoutKeys, match="MUSETALK_API__OPEN=true"):
        require_keys_when_public(ApiSettings(host="0.0.0.0"))
    require_keys_when_public(ApiSettings(host="0.0.0.0", open=True))


def test_a_home_that_is_no_folder_is_told_at_the_start(tmp_path, capsys):
    (tmp_path / "file").touch()

    with pytest.raises(typer.Exit), user_errors():
        require_writable_home(Settings(home=tmp_path / "file" / "home"))
    assert "cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("started_as", "advice"),
    [
        ("/opt/venv/bin/musetalk", "Run: musetalk deploy"),
        ("/x/deployments/cli/__main__.py", "Run: ./run musetalk deploy"),
    ],
)
def test_a_command_is_written_as_this_program_was_started(monkeypatch, started_as, advice):
    monkeypatch.setattr(sys, "argv", [started_as, "doctor"])

    for said in ("Run: musetalk deploy", "Run: ./run musetalk deploy"):
        assert with_program(said) == advice


@pytest.mark.stack
def test_a_prefect_server_that_is_asked_to_stop_has_not_failed(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = os.environ | {"PREFECT_HOME": str(tmp_path), "DO_NOT_TRACK": "1"}
    env["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    with subprocess.Popen(prefect_server_command("127.0.0.1", port), env=env, cwd=tmp_path) as server:
        try:
            deadline = time.monotonic() + 240
            while True:
                try:
                    assert (
                        httpx.get(f"http://127.0.0.1:{port}/api/health", trust_env=False).status_code == 200
                    )
                    break
                except httpx.TransportError:
                    assert server.poll() is None and time.monotonic() < deadline
                    time.sleep(0.3)
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
        finally:
            server.kill()
