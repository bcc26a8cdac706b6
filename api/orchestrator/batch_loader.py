"""Batch concurrent lookups into one request (the DataLoader pattern)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BatchLoader(Generic[K, V]):
    """
    A loader that batches concurrent lookups by key.

    A lookup is sent at once if no request is in flight. Lookups that arrive during a request are sent
    together after it, so each waits at most for the current request and its own, up to `max_batch_size` keys.
    """

    def __init__(
        self, load_many: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], max_batch_size: int
    ) -> None:
        """
        Create a loader; sends no request.

        Args:
            load_many:      loads the values of several keys; keys missing in its result do not exist.
            max_batch_size: maximum number of keys in one request.
        """
        self._load_many, self._max_batch_size = load_many, max_batch_size
        self._pending: dict[K, asyncio.Future[V | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def load(self, key: K) -> V | None:
        """
        Return the value of a key; None if it does not exist.

        Raises:
            Exception: as raised by `load_many`.
        """
        future = self._pending.get(key)
        if future is None:
            future = self._pending[key] = asyncio.get_running_loop().create_future()
        if self._task is None:
            self._task = asyncio.create_task(self._load_pending())
        return await asyncio.shield(future)

    async def _load_pending(self) -> None:
        try:
            while self._pending:
                keys = list(self._pending)[: self._max_batch_size]
                futures = {key: self._pending.pop(key) for key in keys}
                await self._load_batch(futures)
        finally:
            self._task = None

    async def _load_batch(self, futures: Mapping[K, "asyncio.Future[V | None]"]) -> None:
        try:
            values = await self._load_many(list(futures))
        except Exception as error:
            for future in futures.values():
                future.set_exception(error)
                future.exception()  # mark as retrieved: a waiting caller may have been canceled
        else:
            for key, future in futures.items():
                future.set_result(values.get(key))
