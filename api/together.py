"""Batch concurrent lookups into one request (the DataLoader pattern)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Together(Generic[K, V]):
    """
    A loader that batches concurrent lookups by key.

    A lookup is sent at once if no request is in flight. Lookups that arrive during a request are sent
    together after it, so each waits at most for the current request and its own, up to `max_batch_size` keys.
    """

    def __init__(self, ask: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], most: int) -> None:
        """
        Create a loader; sends no request.

        Args:
            load_many:      loads the values of several keys; keys missing in its result do not exist.
            max_batch_size: maximum number of keys in one request.
        """
        self._ask, self._most = ask, most
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._work: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """
        Return the value of a key; None if it does not exist.

        Raises:
            Exception: as raised by `load_many`.
        """
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._work is None:
            self._work = asyncio.create_task(self._run())
        return await asyncio.shield(waiting)

    async def _run(self) -> None:
        try:
            while self._waiting:
                keys = list(self._waiting)[: self._most]
                asked = {key: self._waiting.pop(key) for key in keys}
                await self._answer(asked)
        finally:
            self._work = None

    async def _answer(self, asked: Mapping[K, "asyncio.Future[V | None]"]) -> None:
        try:
            found = await self._ask(list(asked))
        except Exception as error:
            for future in asked.values():
                future.set_exception(error)
                future.exception()  # mark as retrieved: a waiting caller may have been canceled
        else:
            for key, future in asked.items():
                future.set_result(found.get(key))
