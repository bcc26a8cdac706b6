"""The processes of a one-machine stack: their commands, environment and addresses."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deployments.catalogue import declared
from deployments.children import Child
from deployments.guard import MARKER_VARIABLE
from deployments.pools import LIGHT, pool_environment, worker_command
from deployments.results import results_block
from tasks.settings import Settings

HEARTBEAT_S = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a stack lives and how big it is."""

    settings: Settings
    prefect_port: int = 4200
    jobs: int | None = None
    """Jobs at a time in the pool of the cards; None: one a card, or one."""

    @property
    def home(self) -> Path:
        """Folder of everything the stack keeps."""
        return self.settings.home

    @property
    def work(self) -> Path:
        """Neutral working directory of every process: nothing importable lies in it."""
        return self.home / "work"

    @property
    def prefect_url(self) -> str:
        """Address of Prefect's pages; its API is below /api."""
        return f"http://127.0.0.1:{self.prefect_port}"

    @property
    def api_url(self) -> str:
        """Address at which this machine reaches the API."""
        host = self.settings.api.host
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104  compared, not bound
        return f"http://{host}:{self.settings.api.port}"


def scratch(settings: Settings) -> Path:
    """Return the folder of temporary files: must exist, or the system's is used."""
    return settings.home / "tmp"


def worker_environment(settings: Settings) -> dict[str, str]:
    """
    Return what every worker and run needs to have set, on one machine or many.

    Args:
        settings: where results are stored.
    """
    block = results_block(settings)
    return {
        "DO_NOT_TRACK": "1",
        "PREFECT_WORKER_HEARTBEAT_SECONDS": str(HEARTBEAT_S),
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        "PREFECT_WORKER_PREFETCH_SECONDS": "0",
        # the default, pickle, runs code of whoever can write there
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(settings.home / "results"),
        # of its own: what several users of a computer keep in /tmp gets into each other's way
        "TMPDIR": str(scratch(settings)),
        **({"PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK": block} if block else {}),
    }


def metrics_environment(port: int | None) -> dict[str, str]:
    """Return what has a worker serve metrics on this port; nothing for none."""
    if port is None:
        return {}
    return {"PREFECT_CLIENT_METRICS_ENABLED": "true", "PREFECT_CLIENT_METRICS_PORT": str(port)}


def environment(plan: Plan, marker: str) -> dict[str, str]:
    """
    Return the whole environment of the stack's processes.

    Args:
        plan:   the stack.
        marker: what tells its processes from all others.
    """
    inherited: Mapping[str, str] = os.environ  # noqa: TID251  children inherit the shell's variables
    return {
        **{name: value for name, value in inherited.items() if name != "PREFECT_PROFILE"},
        MARKER_VARIABLE: marker,
        "MUSETALK_HOME": str(plan.home),
        "MUSETALK_API__PORT": str(plan.settings.api.port),
        "MUSETALK_API__MODELS_HERE": "true",
        "PYTHONUNBUFFERED": "1",
        "PREFECT_HOME": str(plan.settings.prefect_home),
        "PREFECT_API_URL": f"{plan.prefect_url}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_LOGGING_COLORS": "false",
        "PREFECT_CLI_COLORS": "false",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",  # writes a state per queued job, for nothing
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P2D",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        **worker_environment(plan.settings),
    }


def server(plan: Plan, env: Mapping[str, str]) -> Child:
    """Describe the Prefect server, on SQLite below the home folder."""
    # all but what `prefect server start` runs in the end, without loading its command line first
    command = [sys.executable, "-m", "uvicorn", "--factory", "deployments.server:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(plan.prefect_port), "--timeout-keep-alive", "5"]
    # the block need not exist yet when the server starts, and the server stores no results
    env = {name: value for name, value in env.items() if name != "PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK"}
    return Child("prefect", [*command, "--log-level", "warning"], env, plan.settings.logs)


def deployer(plan: Plan, env: Mapping[str, str]) -> Child:
    """Describe the process that brings pools and deployments up to date, then ends."""
    env = {name: value for name, value in env.items() if name != "PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK"}
    return Child(
        "deploy", [sys.executable, "-m", "deployments.cli", "deploy", "--settle"], env, plan.settings.logs
    )


def workers(plan: Plan, env: Mapping[str, str]) -> list[Child]:
    """Describe one worker per work pool of prefect.yaml."""
    return [
        Child(
            f"worker-{pool}",
            worker_command(pool, f"{pool}-{os.getpid()}", 1 if pool == LIGHT else plan.jobs),
            {**env, **pool_environment(pool)},
            plan.settings.logs,
            terms=2,  # the first only drains
        )
        for pool in sorted({item.pool for item in declared()})
    ]


def api(plan: Plan, env: Mapping[str, str]) -> Child:
    """Describe the REST API."""
    return Child("api", [sys.executable, "-m", "deployments.cli", "api"], env, plan.settings.logs)
