"""Which kind of worker runs jobs, and what its work pool looks like: the one place to change it."""

import shlex
import sys
from pathlib import Path
from typing import Any

WORKER_TYPE = "process"


def job_template(folder: Path) -> dict[str, Any]:
    """
    Return the base job template of a work pool.

    Args:
        folder: neutral working directory of runs; nothing importable may lie in it.

    Returns:
        Prefect's own template of the worker type with our defaults filled in.
    """
    from prefect.workers.process import ProcessWorker

    template: dict[str, Any] = ProcessWorker.get_default_base_job_template()
    defaults = {
        # an explicit command skips Prefect's workspace supervisor, which would import everything twice
        "command": f"{shlex.quote(sys.executable)} -m prefect.engine",
        "working_dir": str(folder),
    }
    for name, value in defaults.items():
        template["variables"]["properties"][name]["default"] = value
    return template


def worker_command(pool: str, name: str, limit: int) -> list[str]:
    """
    Return the command line of a worker.

    Args:
        pool:  work pool to poll.
        name:  name shown in Prefect; unique per worker.
        limit: runs at a time.
    """
    worker = [sys.executable, "-m", "prefect", "worker", "start", "--install-policy", "never"]
    return [*worker, "--type", WORKER_TYPE, "--pool", pool, "--name", name, "--limit", str(limit)]
