"""Prefect servers as processes, each forked, and on a copy of a database that is made once."""

import contextlib
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import httpx
from fork_server import popen
from made_once import made_once
from prefect.client.orchestration import get_client
from prefect.context import _temporary_global_settings_context, get_settings_context
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_settings import prefect_settings
from process_environment import PREFECT

HTTP = httpx.Client(trust_env=False)
"""For requests that are repeated: a new client loads all root certificates, 0.05 s of CPU time."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(look, limit_s=30.0, longest_pause_s=0.3):
    """
    The first true value that `look` gives; fails when there is none in time.

    Pauses grow: twenty requests a second to a Prefect server take half a core, which the test needs.
    """
    deadline, pause_s = time.monotonic() + limit_s, 0.05
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if found := look():
                return found
        assert time.monotonic() < deadline, f"not within {limit_s} s"
        time.sleep(pause_s)
        pause_s = min(1.25 * pause_s, longest_pause_s)


class Server:
    """A Prefect server on a database of its own; `environment` changes its variables."""

    def __init__(self, folder, database=None, **environment):
        self.folder, self.port = folder, free_port()
        self.home, self.is_on_sqlite = folder / "prefect", database is None
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.url,
            "PREFECT_LOGGING_COLORS": "false",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true",  # saves reading root certificates for plain HTTP
            # as in the stack: a killed server finds the leases of its jobs again
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            **({"PREFECT_API_DATABASE_CONNECTION_URL": database} if database else {}),
            **environment,
        }
        self.process = self._client = None

    def start(self):
        environment = self.environment
        if self.is_on_sqlite:
            if not self.home.exists():
                shutil.copytree(made_once("prefect", migrate), self.home)
            # they are in the database: 0.7 s of 2.4 s of CPU time
            environment = environment | {"PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false"}
        self.serve(environment)

    def serve(self, environment):
        """Start the process in an environment."""
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "--factory",
            "deployments.stack.prefect_server:create_app",
        ]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = popen(command, env=environment, stdout=log, stderr=log, cwd=self.folder)
        eventually(lambda: HTTP.get(f"{self.url}/ready").is_success, 600)

    def kill(self):
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def client(self):
        """The server's client, opened once (that takes 0.1 s), and its settings for the `with` block."""
        with prefect_settings(api={"url": self.url}, client={"max_retries": 8}):
            if self._client is None:
                self._client = get_client(sync_client=True)
                self._client.__enter__()
            yield self._client


def migrate(target):
    """
    Fill a folder with what a server leaves in its home after its first start.

    The first start on an empty folder takes twice the time of a later one, mostly for migrations.
    """
    with tempfile.TemporaryDirectory(prefix="migrated-") as name:
        server = Server(Path(name))
        server.home.mkdir()
        server.serve(server.environment)
        try:
            source, copy = (sqlite3.connect(home / "prefect.db") for home in (server.home, target))
            with contextlib.closing(source), contextlib.closing(copy):
                source.backup(copy)
        finally:
            server.kill()
        shutil.copy(
            server.home / "memo_store.toml", target
        )  # what Prefect knows of the blocks in the database


@contextlib.contextmanager
def serving(folder, database=None, kind=Server):
    """A server for as long as the body runs."""
    server = kind(folder, database)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def flow_server(folder):
    """
    A server for flows that run in this process, as long as the body runs.

    As `prefect_test_harness`, whose server starts without a fork and migrates its database: 10 s of CPU time.
    """
    server = Server(folder, **PREFECT)
    server.start()
    try:
        with contextlib.ExitStack() as settings:
            settings.enter_context(temporary_settings({PREFECT_API_URL: server.url}))
            # for threads and event loops with a context that was copied before
            settings.enter_context(_temporary_global_settings_context(get_settings_context()))
            yield server
            EventsWorker.drain_all()
    finally:
        server.kill()
