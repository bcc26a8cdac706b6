"""Limits that several API processes share through Redis: counted rates, and a lock for check-then-create."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any, Final

from tasks.settings.redis import RedisSettings

_KEY_PREFIX: Final = "musetalk"
_LOCK_S: Final = 60.0
"""Seconds after which the lock of an ended process expires: longer than a submission with its retries."""
_LOCK_WAIT_S: Final = 30.0
"""Maximum wait for the lock; the submission is then checked in this process only."""
_TIMEOUT_S: Final = 3.0

_log = logging.getLogger(__name__)


class SharedLimits:
    """A connection to Redis for the limits of all API processes."""

    def __init__(self, redis: RedisSettings) -> None:
        """Configure the connection; it is opened by the first use. Requires the package redis."""
        from limits.aio.storage import RedisStorage
        from limits.aio.strategies import MovingWindowRateLimiter
        from redis.asyncio import Redis
        from redis.exceptions import RedisError

        password = redis.password.get_secret_value() if redis.password else None
        options: dict[str, Any] = {
            "username": redis.username if password else None,
            "password": password,
            "socket_timeout": _TIMEOUT_S,
            "socket_connect_timeout": _TIMEOUT_S,
        }
        address = f"redis{'s' if redis.ssl else ''}://{redis.host}:{redis.port}/{redis.db}"
        self.errors: tuple[type[Exception], ...] = (RedisError, OSError)
        """Exceptions of a Redis that is unavailable."""
        self._redis = Redis.from_url(address, **options)
        self.window = MovingWindowRateLimiter(
            RedisStorage(
                f"async+{address}",
                connection_pool=self._redis.connection_pool,  # pyright: ignore[reportArgumentType]  its own pool
                implementation="redispy",
                key_prefix=f"{_KEY_PREFIX}-rates",
            )
        )
        """The moving windows of the rates."""

    @classmethod
    def connect(cls, redis: RedisSettings) -> "SharedLimits | None":
        """Return the shared limits; None without a Redis host, or without the package redis."""
        if redis.host is None or find_spec("redis") is None:
            return None
        return cls(redis)

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator[None]:
        """Hold a lock in Redis in the block; without it if Redis is unavailable."""
        lock = self._redis.lock(f"{_KEY_PREFIX}-lock:{name}", timeout=_LOCK_S, blocking_timeout=_LOCK_WAIT_S)
        try:
            has_lock = await lock.acquire()
        except self.errors as error:
            _log.warning("Redis is unavailable, so max_jobs is checked per process: %s", error)
            has_lock = False
        try:
            yield
        finally:
            if has_lock:
                try:
                    await lock.release()
                except self.errors as error:  # it expires by itself
                    _log.warning("the lock %s was not released: %s", name, error)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._redis.aclose()
