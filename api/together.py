"""Questions that come while another is being asked are asked together."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Together(Generic[K, V]):
    """
    Many small questions as few large ones.

    One is asked at once when nothing is on its way. What comes meanwhile waits for that answer and goes in
    one question: nobody waits longer than two answers take, however many ask.
    """

    def __init__(self, ask: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], most: int) -> None:
        """
        Ask nothing yet.

        Args:
            ask:  answers several keys; what it leaves out does not exist.
            most: keys in one question.
        """
        self._ask, self._most = ask, most
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._work: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """
        Answer one key; None for what does not exist.

        Raises:
            Exception: whatever asking raised.
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
                future.exception()  # who waited has it; nobody may have
        else:
            for key, future in asked.items():
                future.set_result(found.get(key))
