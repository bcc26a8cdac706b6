"""Guard of request bodies: access is checked before the first byte; then size, rate and time are limited."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.types import Message, Receive

from api.errors import Problem

WINDOW_S: Final = 30.0
"""Time over which the minimum rate is measured."""
_CLOSE: Final = {"Connection": "close"}


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """
    Limits of one request body.

    Attributes:
        bytes:           maximum size.
        seconds:         maximum time that the client may take.
        bytes_per_s:     minimum rate over 30 seconds; 0 for none.
    """

    bytes: int
    seconds: float
    bytes_per_s: int = 0


class BodyGuard:
    """An ASGI `receive` with limits. Only the time that is spent waiting for the client counts."""

    def __init__(self, receive: Receive, limits: BodyLimits, before_body: Callable[[], None]) -> None:
        """
        Wrap a `receive`.

        Args:
            receive:     the server's.
            limits:      limits of the body.
            before_body: called once before anything is received; raises a Problem to reject the request.
        """
        self._receive, self._limits, self._before_body = receive, limits, before_body
        self._is_started = self._is_complete = False
        self._bytes = self._window_bytes = 0
        self._waited_s = self._window_s = 0.0

    async def __call__(self) -> Message:
        """
        Return the next message.

        Raises:
            Problem: `input_too_large`, `request_timeout`, and those of `before_body`.
        """
        if not self._is_started:
            self._is_started = True
            self._before_body()
        if self._is_complete:  # further messages are about the connection
            return await self._receive()
        message = await self._receive_in_time()
        received = len(message.get("body", b""))
        self._bytes += received
        self._window_bytes += received
        self._is_complete = message["type"] != "http.request" or not message.get("more_body", False)
        if self._bytes > self._limits.bytes:  # Content-Length was missing (chunked) or wrong
            raise too_large(self._limits.bytes)
        return message

    async def _receive_in_time(self) -> Message:
        while True:
            started_at = time.monotonic()
            limit_s = min(self._limits.seconds - self._waited_s, WINDOW_S - self._window_s)
            try:
                async with asyncio.timeout(max(limit_s, 0.0)):
                    return await self._receive()
            except TimeoutError:
                pass
            finally:
                waited_s = time.monotonic() - started_at
                self._waited_s += waited_s
                self._window_s += waited_s
            self._require_progress()

    def _require_progress(self) -> None:
        if self._waited_s >= self._limits.seconds:
            detail = f"The body was not complete after {self._limits.seconds:g} seconds."
            raise Problem("request_timeout", detail, headers=_CLOSE)
        if self._window_s >= WINDOW_S:
            if self._window_bytes < self._limits.bytes_per_s * WINDOW_S:
                detail = f"The body arrived at less than {self._limits.bytes_per_s} bytes per second."
                raise Problem("request_timeout", detail, headers=_CLOSE)
            self._window_s, self._window_bytes = 0.0, 0


def too_large(limit: int) -> Problem:
    """Return the problem of a body over its limit in bytes."""
    return Problem("input_too_large", f"The body exceeds the limit of {limit} bytes.", status=413)
