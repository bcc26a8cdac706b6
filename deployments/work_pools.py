"""Work pools and their workers: worker type, queues, worker command line and environment."""

import sys
from typing import Final

from flows.schemas.control import PRIORITIES

WORKER_TYPE: Final = "warm-process"
QUEUE_PRIORITIES: Final = {name: place for place, name in enumerate(PRIORITIES, start=1)}
"""Work queues of every pool with their Prefect priority; 1 is the most urgent."""
DEFAULT_QUEUE: Final = "normal"
LIGHT_POOL: Final = "light"
"""Work pool of pipelines, batches, webhooks and maintenance tasks, which must not occupy a GPU slot."""


def worker_command(pool: str, name: str, limit: int | None, *, serves_health: bool = False) -> list[str]:
    """
    Return the command line of a worker.

    Args:
        pool:          work pool to poll.
        name:          name shown in Prefect; unique per worker.
        limit:         concurrent runs; None: one per GPU, or 1 without a GPU.
        serves_health: whether the worker serves the health check /health.
    """
    command = [sys.executable, "-m", "prefect", "worker", "start", "--install-policy", "never"]
    limit_options = [] if limit is None else ["--limit", str(limit)]
    health_options = ["--with-healthcheck"] if serves_health else []
    return [*command, "--type", WORKER_TYPE, "--pool", pool, "--name", name, *limit_options, *health_options]


def pool_environment(pool: str) -> dict[str, str]:
    """
    Return the additional environment variables of a pool's workers; workers of the light pool see no GPU.

    Args:
        pool: name of the work pool.
    """
    return {"CUDA_VISIBLE_DEVICES": "", "MUSETALK_WORKER__GPUS": ""} if pool == LIGHT_POOL else {}
