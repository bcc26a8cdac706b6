"""Exclusive access to a resumable upload in one API process."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from anyio import CancelScope

from api.errors import Problem

IDLE_S: Final = 5.0
"""Time without a byte after which the connection of a request counts as lost."""
_RELEASE_TIMEOUT_S: Final = 5.0


class UploadLock:
    """The access of one request."""

    def __init__(self) -> None:
        self.scope = CancelScope()
        """Runs the transfer; cancelled when another request takes over."""
        self.released = asyncio.Event()
        self._active_at = time.monotonic()

    def touch(self) -> None:
        """Note that a byte arrived."""
        self._active_at = time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Whether no byte has arrived for a while."""
        return time.monotonic() - self._active_at >= IDLE_S


class UploadLocks:
    """
    The locks of one API process.

    A connection that breaks silently leaves its request waiting for bytes. The client's next request ends it.
    """

    def __init__(self) -> None:
        self._held: dict[str, UploadLock] = {}

    def is_held(self, upload: str) -> bool:
        """Return whether a request is writing to an upload."""
        return upload in self._held

    @asynccontextmanager
    async def hold(self, upload: str) -> AsyncGenerator[UploadLock]:
        """
        Lock an upload.

        Args:
            upload: id of the upload.

        Raises:
            Problem: `upload_locked`: another request is receiving bytes of it.
        """
        other = self._held.get(upload)
        if other is not None and other.is_idle:
            other.scope.cancel()
            try:
                async with asyncio.timeout(_RELEASE_TIMEOUT_S):
                    await other.released.wait()
            except TimeoutError:
                pass  # it is still storing bytes
        if upload in self._held:
            raise Problem("upload_locked", "Another request is writing to the upload. Try again.")
        lock = self._held[upload] = UploadLock()
        try:
            yield lock
        finally:
            del self._held[upload]
            lock.released.set()
