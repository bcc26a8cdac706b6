"""Transfer of one body into a resumable upload; bytes that arrived before an interruption are kept."""

import hashlib
import hmac
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from anyio import CancelScope, to_thread
from starlette.requests import Request

from api.auth.upload_limits import UploadLimiter
from api.errors import Problem
from api.http.body_guard import too_large
from api.http.tus import Checksum
from api.http.upload_locks import UploadLock
from tasks.catalog.resumable_uploads import ResumableUpload, RunningHashes
from tasks.errors import ObjectMissing, RenderError, UploadMissing
from tasks.storage.append_target import AppendSession
from tasks.storage.folder_appends import FolderSession
from tasks.storage.home_store import store_is_remote

_BLOCK_BYTES: Final = 1 << 18


class Transfer:
    """The transfer of one body."""

    def __init__(
        self,
        upload: ResumableUpload,
        checksum: Checksum | None,
        limiter: UploadLimiter,
        hashes: RunningHashes,
        lock: UploadLock,
    ) -> None:
        """
        Prepare a transfer.

        Args:
            upload:   the unfinished upload.
            checksum: expected checksum of the body; in a folder store only.
            limiter:  threads for the writes.
            hashes:   hashes of unfinished uploads.
            lock:     exclusive access to the upload.
        """
        self._upload, self._lock, self._hashes = upload, lock, hashes
        self._checksum, self._digest = checksum, hashlib.new(checksum.algorithm) if checksum else None
        self._threads = limiter.store_threads if store_is_remote() else limiter.write_threads
        self._pending = bytearray()
        self.stored = 0
        """Number of bytes of the body that were stored."""
        self.is_started = self.is_whole = False
        """Whether the body has its place, and whether all of it has arrived and its checksum was correct."""

    async def receive(self, request: Request, offset: int) -> int:
        """
        Store the body and return the new offset. An interrupted body is stored as far as it has arrived.

        Args:
            request: the request.
            offset:  where its body belongs.

        Raises:
            OffsetMismatch, UploadLocked, UploadMissing: see `AppendTarget.open`.
            Problem: `input_too_large` for more bytes than were announced, `checksum_mismatch`, and
                `request_timeout` if another request continued the upload.
        """
        session = await self._run(lambda: self._open(offset))
        self.is_started = True
        try:
            with self._lock.scope:
                await self._receive_blocks(request, session)
            if self._lock.scope.cancelled_caught:
                raise Problem("request_timeout", "Another request continued the upload.")
            await self._run(lambda: self._flush(session))
            self._check_digest()
            await self._run(session.sync)
            self.is_whole = True
        finally:
            with CancelScope(shield=True):
                await self._run(lambda: self._end(session, offset))
            self.stored = session.offset - offset
        return session.offset

    async def _receive_blocks(self, request: Request, session: AppendSession) -> None:
        room = self._upload.size - session.offset
        if int(request.headers.get("content-length", "0")) > room:
            raise too_large(self._upload.size)
        async for block in request.stream():
            self._lock.touch()
            room -= len(block)
            if room < 0:
                raise too_large(self._upload.size)
            self._pending += block
            if len(self._pending) >= _BLOCK_BYTES:
                await self._run(lambda: self._flush(session))
                self._lock.touch()

    def _open(self, offset: int) -> AppendSession:
        try:
            return self._upload.target.open(offset)
        except ObjectMissing as error:
            raise UploadMissing("The data of the upload was deleted.") from error

    def _flush(self, session: AppendSession) -> None:
        block = bytes(self._pending)
        if not block:
            return
        self._pending.clear()  # also if the write fails, so that no byte is written twice
        offset = session.offset
        session.write(block)
        self._hashes.update(self._upload.id, offset, block)
        if self._digest is not None:
            self._digest.update(block)

    def _check_digest(self) -> None:
        if self._checksum is None or self._digest is None:
            return
        if not hmac.compare_digest(self._digest.digest(), self._checksum.digest):
            raise Problem(
                "checksum_mismatch", "The bytes received do not match Upload-Checksum; send them again."
            )

    def _end(self, session: AppendSession, offset: int) -> None:
        """Store what has arrived, or discard a part whose checksum cannot be verified; close the session."""
        try:
            if self.is_whole:
                return
            if self._checksum is not None and isinstance(session, FolderSession):
                session.truncate(offset)
                self._hashes.pop(self._upload.id, -1)
                return
            with suppress(RenderError, OSError):  # the error that interrupted the transfer is reported
                self._flush(session)
                session.sync()
        finally:
            session.close()

    async def _run(self, work: Callable[[], Any]) -> Any:
        return await to_thread.run_sync(work, limiter=self._threads)
