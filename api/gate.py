"""How much one caller may ask for: jobs a minute, and jobs at a time."""

import time
from math import ceil

from fastapi import Request
from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from api.key_file import Key
from api.problems import Problem
from api.runs import Runs
from tasks.settings import ApiSettings


class Gate:
    """
    Counts what callers submit; those of one tenant count together, keys without one each for itself.

    Rates are counted per process: two API processes allow twice as many. Prefect counts jobs at a time.
    """

    def __init__(self, settings: ApiSettings) -> None:
        """
        Read the limits.

        Args:
            settings: `submit_rate` and `max_jobs`.
        """
        self._rates: list[RateLimitItem] = parse_many(settings.submit_rate) if settings.submit_rate else []
        self._max_jobs = settings.max_jobs
        self._window = MovingWindowRateLimiter(MemoryStorage())

    async def admit(self, caller: Key, runs: Runs, key: str | None = None) -> None:
        """
        Let a submission pass.

        Args:
            caller: who submits.
            runs:   where unfinished jobs are counted.
            key:    idempotency key; one that is known makes no job, so that a full house does not matter.

        Raises:
            Problem: `rate_limited` or `concurrency_limited`, with Retry-After.
        """
        if self._max_jobs:
            unfinished = await runs.unfinished(caller.tenant)
            if unfinished >= self._max_jobs and not (key and await runs.knows(key)):
                raise Problem(
                    "concurrency_limited",
                    f"{unfinished} jobs are unfinished, and {self._max_jobs} may be at a time.",
                    headers={"Retry-After": "10", "X-RateLimit-Limit": str(self._max_jobs)},
                )
        self.count(caller)

    def count(self, caller: Key) -> None:
        """
        Count a request that costs as much as a submission.

        Args:
            caller: whose it is.

        Raises:
            Problem: `rate_limited`, with Retry-After.
        """
        who = _who(caller)
        for rate in self._rates:
            if not self._window.hit(rate, who):
                raise self._refusal(rate, who)

    def standing(self, caller: Key) -> dict[str, str]:
        """
        Say how much of the tightest rate is left, in headers; none when there is no rate.

        Args:
            caller: whose.
        """
        if not self._rates:
            return {}
        stands = [(self._window.get_window_stats(rate, _who(caller)), rate) for rate in self._rates]
        stats, rate = min(stands, key=lambda one: one[0].remaining)
        return _headers(rate, stats.remaining, stats.reset_time)

    def _refusal(self, rate: RateLimitItem, who: str) -> Problem:
        reset = self._window.get_window_stats(rate, who).reset_time
        wait_s = max(1, ceil(reset - time.time()))
        return Problem(
            "rate_limited",
            f"More than {rate.amount} jobs in {rate.get_expiry()} seconds were sent.",
            headers={"Retry-After": str(wait_s), **_headers(rate, 0, reset)},
        )


def _who(caller: Key) -> str:
    return f"tenant {caller.tenant}" if caller.tenant else f"key {caller.name}"


def _headers(rate: RateLimitItem, remaining: int, reset: float) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(rate.amount),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(ceil(reset)),
    }


def gate_headers(request: Request) -> dict[str, str]:
    """Say how much more the caller may submit, on a route that `require_key` guards."""
    gate: Gate = request.app.state.gate
    return gate.standing(request.state.caller)
