"""
Multipart upload to S3: big files are sent in parallel parts, and an incomplete upload is aborted.

The requests are sent in separate threads, so a canceled job returns at once and the upload is aborted while
parts are still in flight.
"""

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from pathlib import Path
from typing import Any

from tasks.run.cancellation import Cancelled, raise_if_cancelled

PART_BYTES = 16 << 20
"""Size of one part; a file up to this size is sent in one request."""

_MAX_PARTS = 10_000
_CONCURRENT_PARTS = 6
_STOP_CHECK_INTERVAL_S = 0.05
_ABORT_TIMEOUT_S = 10.0
_log = logging.getLogger(__name__)


def upload_in_parts(
    client: Any, path: Path, target: Mapping[str, str], attributes: Mapping[str, Any]
) -> Mapping[str, Any]:
    """
    Upload a file and return when it is stored.

    Args:
        client:     S3 client of boto3.
        path:       the file.
        target:     the arguments Bucket and Key.
        attributes: the other arguments of the object: content type and metadata.

    Returns:
        The store's response, with the ETag and, in a versioned bucket, the VersionId.

    Raises:
        Cancelled: the job was canceled.
        Exception: the error that boto3 raised for the part that failed.
    """
    upload = _Upload(client, path, target, attributes)
    pool = ThreadPoolExecutor(1, thread_name_prefix="upload")
    work = pool.submit(copy_context().run, upload.run)
    pool.shutdown(wait=False)
    try:
        while not wait([work], _STOP_CHECK_INTERVAL_S).done:
            raise_if_cancelled()
    except BaseException:  # including exceptions that signal handlers raise
        upload.abandon(work)
        raise
    return work.result()


class _Upload:
    def __init__(
        self, client: Any, path: Path, target: Mapping[str, str], attributes: Mapping[str, Any]
    ) -> None:
        self._client, self._path, self._target, self._attributes = (
            client,
            path,
            dict(target),
            dict(attributes),
        )
        size = path.stat().st_size
        self._part_bytes = max(PART_BYTES, -(-size // _MAX_PARTS))
        self._part_count = max(1, -(-size // self._part_bytes))
        checksums = client.meta.config.request_checksum_calculation == "when_supported"
        self._checksums: dict[str, str] = {"ChecksumAlgorithm": "CRC32"} if checksums else {}
        self._stop = threading.Event()
        self._is_failed = threading.Event()

    def run(self) -> Mapping[str, Any]:
        """Upload all parts and complete the upload; abort it on any error."""
        created = self._client.create_multipart_upload(**self._target, **self._attributes, **self._checksums)
        upload = {**self._target, "UploadId": str(created["UploadId"])}
        pool = ThreadPoolExecutor(_CONCURRENT_PARTS, thread_name_prefix="part")
        try:
            numbers = range(1, self._part_count + 1)
            sent = [pool.submit(copy_context().run, self._send_part, upload, number) for number in numbers]
            parts = self._wait_for_parts(sent)
            stored = self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        except BaseException:
            self._is_failed.set()
            pool.shutdown(wait=False, cancel_futures=True)
            self._abort(upload)
            raise
        pool.shutdown()
        return stored

    def abandon(self, work: "Future[Mapping[str, Any]]") -> None:
        """Request the abort and wait at most 10 s for it, without waiting for parts in flight."""
        self._stop.set()
        wait([work], _ABORT_TIMEOUT_S)

    def _wait_for_parts(self, sending: "list[Future[dict[str, Any]]]") -> list[dict[str, Any]]:
        """Wait for all parts, the first failed part or the abort; return ETags and part numbers in order."""
        while True:
            done, missing = wait(sending, _STOP_CHECK_INTERVAL_S, FIRST_EXCEPTION)
            for part in done:
                part.result()
            if self._stop.is_set():
                raise Cancelled("the job was canceled")
            if not missing:
                return [part.result() for part in sending]

    def _send_part(self, upload: Mapping[str, str], number: int) -> dict[str, Any]:
        with self._path.open("rb") as file:
            file.seek((number - 1) * self._part_bytes)
            body = file.read(self._part_bytes)
        try:
            response = self._client.upload_part(**upload, **self._checksums, PartNumber=number, Body=body)
        finally:
            if self._is_failed.is_set():
                self._abort(upload)  # S3 may keep a part that arrives while its upload is aborted
        proofs = {name: value for name, value in response.items() if name.startswith(("Checksum", "ETag"))}
        return {"PartNumber": number} | proofs

    def _abort(self, upload: Mapping[str, str]) -> None:
        try:
            self._client.abort_multipart_upload(**upload)
        except Exception as error:  # the error that caused the abort is the one to raise
            _log.info("a multipart upload was not aborted: %s", type(error).__name__)
