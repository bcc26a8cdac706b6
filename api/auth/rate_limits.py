"""Rate limits of job submissions, and the limit of unfinished jobs per tenant."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from math import ceil
from typing import Any, Final
from weakref import WeakValueDictionary

from fastapi import Request
from limits import RateLimitItem, WindowStats, parse_many
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from api.auth.key_file import ApiKey
from api.auth.shared_limits import SharedLimits
from api.errors import Problem
from api.jobs.model import JobStore
from tasks.settings import ApiSettings
from tasks.settings.redis import RedisSettings

_NO_REDIS: Final = RedisSettings()
_log = logging.getLogger(__name__)


class RateLimiter:
    """
    A rate limiter for submissions: one budget per tenant, or per API key for keys without a tenant.

    The number of unfinished jobs is read from Prefect, and no other submission of the tenant is admitted
    until the job exists. With Redis this holds for all API processes together, and so do the rates; without
    it, or while it is unavailable, for each process.
    """

    def __init__(self, settings: ApiSettings, redis: RedisSettings = _NO_REDIS) -> None:
        """
        Read the limits; opens no connection.

        Args:
            settings: `submit_rate` and `max_jobs`.
            redis:    Redis that the API processes share, if it has a host.
        """
        self._rates: list[RateLimitItem] = parse_many(settings.submit_rate) if settings.submit_rate else []
        self._max_jobs = settings.max_jobs
        self._local_window = MovingWindowRateLimiter(MemoryStorage())
        self._shared = SharedLimits.connect(redis)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def aclose(self) -> None:
        """Close the connection to Redis."""
        if self._shared is not None:
            await self._shared.aclose()

    @asynccontextmanager
    async def submission(
        self, caller: ApiKey, jobs: JobStore, idempotency_key: str | None = None
    ) -> AsyncGenerator[None]:
        """
        Check a submission against both limits, count it, and create the job in the `async with` block.

        Args:
            caller:          API key of the request.
            jobs:            the job store, which counts unfinished jobs.
            idempotency_key: a replayed key creates no job, so the limit of unfinished jobs does not apply.

        Raises:
            Problem: `rate_limited` or `concurrency_limited`, with Retry-After.
        """
        if not self._max_jobs:
            await self.hit(caller)
            yield
            return
        async with self._exclusive(caller):
            unfinished = await jobs.count_unfinished(caller.tenant)
            if unfinished >= self._max_jobs and not (
                idempotency_key and await jobs.has_idempotency_key(idempotency_key)
            ):
                raise Problem(
                    "concurrency_limited",
                    f"{unfinished} jobs are unfinished; the limit is {self._max_jobs}.",
                    headers={"Retry-After": "10", "X-RateLimit-Limit": str(self._max_jobs)},
                )
            await self.hit(caller)
            yield

    @asynccontextmanager
    async def _exclusive(self, caller: ApiKey) -> AsyncGenerator[None]:
        """Exclude other submissions that count the same jobs: of the tenant, or of all keys without one."""
        name = f"tenant {caller.tenant}" if caller.tenant else "no tenant"
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            if self._shared is None:
                yield
            else:
                async with self._shared.lock(name):
                    yield

    async def hit(self, caller: ApiKey) -> None:
        """
        Count one request against the rate limits.

        Args:
            caller: API key of the request.

        Raises:
            Problem: `rate_limited`, with Retry-After.
        """
        key = limit_key(caller)
        for rate in self._rates:
            if not await self._ask("hit", rate, key):
                raise await self._rate_limited_problem(rate, key)

    async def headers_for(self, caller: ApiKey) -> dict[str, str]:
        """
        Return the X-RateLimit headers of the limit with the fewest requests left; empty without a limit.

        Args:
            caller: API key of the request.
        """
        if not self._rates:
            return {}
        usage = [(await self._stats(rate, limit_key(caller)), rate) for rate in self._rates]
        stats, rate = min(usage, key=lambda one: one[0].remaining)
        return _format_headers(rate, stats.remaining, stats.reset_time)

    async def _stats(self, rate: RateLimitItem, key: str) -> WindowStats:
        return await self._ask("get_window_stats", rate, key)

    async def _ask(self, method: str, rate: RateLimitItem, key: str) -> Any:
        """Call a method of the shared window, or of this process's while Redis is unavailable."""
        if self._shared is not None:
            try:
                return await getattr(self._shared.window, method)(rate, key)
            except self._shared.errors as error:
                _log.warning("Redis is unavailable, so rates count per process: %s", error)
        return getattr(self._local_window, method)(rate, key)

    async def _rate_limited_problem(self, rate: RateLimitItem, key: str) -> Problem:
        reset = (await self._stats(rate, key)).reset_time
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


async def rate_limit_headers(request: Request) -> dict[str, str]:
    """Return the X-RateLimit headers of the caller, on a route that depends on `require_key`."""
    rate_limiter: RateLimiter = request.app.state.gate
    return await rate_limiter.headers_for(request.state.caller)
