"""Processes of a one-machine stack: their command lines, environment variables and addresses."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deployments.manifest import load_deployments
from deployments.processes.guard import MARKER_VARIABLE
from deployments.processes.launch import with_start_log
from deployments.processes.process import ManagedProcess
from deployments.stack.environment import server_environment, ui_cors_environment, worker_environment
from deployments.stack.healthcheck import local_api_url
from deployments.work_pools import LIGHT_POOL, pool_environment, worker_command
from tasks.settings import Settings


@dataclass(frozen=True, slots=True)
class StackPlan:
    """Configuration of a stack: settings, ports and number of concurrent jobs."""

    settings: Settings
    prefect_port: int = 4200
    jobs: int | None = None
    """Concurrent jobs in the GPU pool; None: one per GPU, or 1 without a GPU."""

    @property
    def home(self) -> Path:
        """Folder of all data that the stack stores."""
        return self.settings.home

    @property
    def working_directory(self) -> Path:
        """Working directory of every process; it contains no importable modules."""
        return self.home / "work"

    @property
    def prefect_url(self) -> str:
        """URL of Prefect's pages; its API is under /api."""
        return f"http://127.0.0.1:{self.prefect_port}"

    @property
    def api_url(self) -> str:
        """URL of the API on this computer."""
        return local_api_url(self.settings.api)


def stack_environment(plan: StackPlan, marker: str) -> dict[str, str]:
    """
    Return the environment variables of the stack's processes.

    Args:
        plan:   configuration of the stack.
        marker: value of RENDER_STACK_ID, by which leftover processes of this stack are found.
    """
    inherited: Mapping[str, str] = os.environ  # noqa: TID251  processes inherit the shell's variables
    # a stack that dropped the Redis of an older service's file drops it for its processes as well
    without_redis = {"REDIS_HOST": ""} if plan.settings.redis.host is None else {}
    return {
        **{name: value for name, value in inherited.items() if name != "PREFECT_PROFILE"},
        **without_redis,
        MARKER_VARIABLE: marker,
        "MUSETALK_HOME": str(plan.home),
        "MUSETALK_API__PORT": str(plan.settings.api.port),
        "MUSETALK_API__MODELS_HERE": "true",
        "PYTHONUNBUFFERED": "1",
        "PREFECT_HOME": str(plan.settings.prefect_home),
        "PREFECT_API_URL": f"{plan.prefect_url}/api",
        "PREFECT_LOGGING_COLORS": "false",
        "PREFECT_CLI_COLORS": "false",
        **server_environment(plan.settings),
        **worker_environment(plan.settings),
    }


def prefect_server_process(plan: StackPlan, env: Mapping[str, str]) -> ManagedProcess:
    """Return the Prefect server, with its SQLite database in the home folder."""
    # the block may not exist yet when the server starts, and the server stores no results
    env = {name: value for name, value in env.items() if name != "PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK"}
    env |= ui_cors_environment(plan.prefect_port)
    command = with_start_log("prefect", prefect_server_command("127.0.0.1", plan.prefect_port))
    return ManagedProcess("prefect", command, env, plan.settings.logs)


def prefect_server_command(host: str, port: int) -> list[str]:
    """
    Return the command line of a Prefect server.

    Args:
        host: address to listen on.
        port: port to listen on.
    """
    # what `prefect server start` runs, without first importing its command line
    module = ["-m", "deployments.stack.prefect_server"]
    return [sys.executable, *module, "--host", host, "--port", str(port)]


def deploy_process(plan: StackPlan, env: Mapping[str, str]) -> ManagedProcess:
    """Return the process that updates work pools and deployments, requeues interrupted jobs, and exits."""
    env = {name: value for name, value in env.items() if name != "PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK"}
    command = with_start_log("deploy", [sys.executable, "-m", "deployments.cli", "deploy", "--settle"])
    return ManagedProcess("deploy", command, env, plan.settings.logs)


def worker_processes(plan: StackPlan, env: Mapping[str, str]) -> list[ManagedProcess]:
    """Return one worker per work pool of prefect.yaml."""
    return [
        ManagedProcess(
            f"worker-{pool}",
            with_start_log(
                f"worker-{pool}",
                worker_command(pool, f"{pool}-{os.getpid()}", 1 if pool == LIGHT_POOL else plan.jobs),
            ),
            {**env, **pool_environment(pool)},
            plan.settings.logs,
            sigterm_count=2,  # the first SIGTERM only drains the worker
        )
        for pool in sorted({item.pool for item in load_deployments()})
    ]


def api_process(plan: StackPlan, env: Mapping[str, str]) -> ManagedProcess:
    """Return the process of the REST API."""
    command = with_start_log("api", [sys.executable, "-m", "deployments.cli", "api"])
    return ManagedProcess("api", command, env, plan.settings.logs)
