"""Rate limits of job submissions, and the limit of unfinished jobs per tenant."""

import time
from math import ceil

from fastapi import Request
from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from api.auth.key_file import ApiKey
from api.errors import Problem
from api.jobs.model import JobStore
from tasks.settings import ApiSettings


class RateLimiter:
    """
    A rate limiter for submissions: one budget per tenant, or per API key for keys without a tenant.

    Rates are counted per process, so two API processes allow twice the rate. The number of unfinished jobs
    is read from Prefect.
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

    async def check_submission(
        self, caller: ApiKey, jobs: JobStore, idempotency_key: str | None = None
    ) -> None:
        """
        Check a submission against both limits and count it.

        Args:
            caller:          API key of the request.
            jobs:            the job store, which counts unfinished jobs.
            idempotency_key: a replayed key creates no job, so the limit of unfinished jobs does not apply.

        Raises:
            Problem: `rate_limited` or `concurrency_limited`, with Retry-After.
        """
        if self._max_jobs:
            unfinished = await jobs.count_unfinished(caller.tenant)
            if unfinished >= self._max_jobs and not (
                idempotency_key and await jobs.has_idempotency_key(idempotency_key)
            ):
                raise Problem(
                    "concurrency_limited",
                    f"{unfinished} jobs are unfinished; the limit is {self._max_jobs}.",
                    headers={"Retry-After": "10", "X-RateLimit-Limit": str(self._max_jobs)},
                )
        self.hit(caller)

    def hit(self, caller: ApiKey) -> None:
        """
        Count one request against the rate limits.

        Args:
            caller: API key of the request.

        Raises:
            Problem: `rate_limited`, with Retry-After.
        """
        key = limit_key(caller)
        for rate in self._rates:
            if not self._window.hit(rate, key):
                raise self._rate_limited_problem(rate, key)

    def headers_for(self, caller: ApiKey) -> dict[str, str]:
        """
        Return the X-RateLimit headers of the limit with the fewest requests left; empty without a limit.

        Args:
            caller: API key of the request.
        """
        if not self._rates:
            return {}
        usage = [(self._window.get_window_stats(rate, limit_key(caller)), rate) for rate in self._rates]
        stats, rate = min(usage, key=lambda one: one[0].remaining)
        return _format_headers(rate, stats.remaining, stats.reset_time)

    def _rate_limited_problem(self, rate: RateLimitItem, key: str) -> Problem:
        reset = self._window.get_window_stats(rate, key).reset_time
        wait_s = max(1, ceil(reset - time.time()))
        return Problem(
            "rate_limited",
            f"Rate limit exceeded: {rate.amount} jobs in {rate.get_expiry()} seconds.",
            headers={"Retry-After": str(wait_s), **_format_headers(rate, 0, reset)},
        )


def limit_key(caller: ApiKey) -> str:
    """Return whose budget a request uses: the tenant's, or that of a key without a tenant."""
    return f"tenant {caller.tenant}" if caller.tenant else f"key {caller.name}"


def _format_headers(rate: RateLimitItem, remaining: int, reset: float) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(rate.amount),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(ceil(reset)),
    }


def rate_limit_headers(request: Request) -> dict[str, str]:
    """Return the X-RateLimit headers of the caller, on a route that depends on `require_key`."""
    rate_limiter: RateLimiter = request.app.state.gate
    return rate_limiter.headers_for(request.state.caller)
