"""Which kind of worker runs jobs, and what its work pool looks like: the one place to change it."""

import sys
from typing import Final

from flows.control import PRIORITIES

WORKER_TYPE: Final = "warm-process"
QUEUES: Final = {name: place for place, name in enumerate(PRIORITIES, start=1)}
"""Work queues of every pool, with their priorities."""
DEFAULT_QUEUE: Final = "normal"
LIGHT: Final = "light"
"""The pool of flows that wait, notify and tidy up: they never take a card's place."""


def worker_command(pool: str, name: str, limit: int | None, *, tells_health: bool = False) -> list[str]:
    """
    Return the command line of a worker.

    Args:
        pool:         work pool to poll.
        name:         name shown in Prefect; unique per worker.
        limit:        runs at a time; None: one a card, or one.
        tells_health: whether it answers at /health.
    """
    worker = [sys.executable, "-m", "prefect", "worker", "start", "--install-policy", "never"]
    bound = [] if limit is None else ["--limit", str(limit)]
    health = ["--with-healthcheck"] if tells_health else []
    return [*worker, "--type", WORKER_TYPE, "--pool", pool, "--name", name, *bound, *health]


def pool_environment(pool: str) -> dict[str, str]:
    """
    Return what a pool's worker has set beside what all have.

    Args:
        pool: its name.
    """
    return {"CUDA_VISIBLE_DEVICES": "", "MUSETALK_WORKER__GPUS": ""} if pool == LIGHT else {}
