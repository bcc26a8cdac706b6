"""
A big file goes to S3 in parts, and nothing of it stays there when it does not arrive whole.

The calls are made in threads of their own: a job that is stopped lets go of them at once, and the upload is
given up while parts are still under way.
"""

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from tasks.stopping import Stopped, stop_if_asked

PART_BYTES = 16 << 20
"""Of one part; a file up to this size goes in one piece."""

_MOST_PARTS = 10_000
_AT_A_TIME = 6
_EVERY_S = 0.05
_LET_GO_S = 10.0
_log = logging.getLogger(__name__)


def upload_in_parts(
    client: Any, path: Path, where: Mapping[str, str], about: Mapping[str, Any]
) -> Mapping[str, Any]:
    """
    Send a file, and return when it is stored.

    Args:
        client: boto3's.
        path:   the file.
        where:  Bucket and Key.
        about:  what else is said of the object: its type and metadata.

    Returns:
        The store's answer, with the ETag and, where versions are kept, the VersionId.

    Raises:
        Stopped:   the job is to end.
        Exception: whatever boto3 raised for the part that failed.
    """
    upload = _Upload(client, path, where, about)
    pool = ThreadPoolExecutor(1, thread_name_prefix="upload")
    work = pool.submit(upload.carry)
    pool.shutdown(wait=False)
    try:
        while not wait([work], _EVERY_S).done:
            stop_if_asked()
    except BaseException:  # a signal's, too
        upload.let_go(work)
        raise
    return work.result()


class _Upload:
    def __init__(self, client: Any, path: Path, where: Mapping[str, str], about: Mapping[str, Any]) -> None:
        self._client, self._path, self._where, self._about = client, path, dict(where), dict(about)
        size = path.stat().st_size
        self._step = max(PART_BYTES, -(-size // _MOST_PARTS))
        self._count = max(1, -(-size // self._step))
        checksums = client.meta.config.request_checksum_calculation == "when_supported"
        self._checksums: dict[str, str] = {"ChecksumAlgorithm": "CRC32"} if checksums else {}
        self._stop = threading.Event()
        self._failed = threading.Event()

    def carry(self) -> Mapping[str, Any]:
        """Do it all; what was begun and cannot be finished is given up."""
        begun = self._client.create_multipart_upload(**self._where, **self._about, **self._checksums)
        upload = {**self._where, "UploadId": str(begun["UploadId"])}
        pool = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="part")
        try:
            numbers = range(1, self._count + 1)
            parts = self._all([pool.submit(self._send, upload, number) for number in numbers])
            stored = self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        except BaseException:
            self._failed.set()
            pool.shutdown(wait=False, cancel_futures=True)
            self._give_up(upload)
            raise
        pool.shutdown()
        return stored

    def let_go(self, work: "Future[Mapping[str, Any]]") -> None:
        """Have it given up, and wait for that; not for parts that are under way."""
        self._stop.set()
        wait([work], _LET_GO_S)

    def _all(self, sending: "list[Future[dict[str, Any]]]") -> list[dict[str, Any]]:
        """Wait for all parts, or for the first that fails, or for the stop."""
        while True:
            done, missing = wait(sending, _EVERY_S, FIRST_EXCEPTION)
            for part in done:
                part.result()
            if self._stop.is_set():
                raise Stopped("the job was asked to stop")
            if not missing:
                return [part.result() for part in sending]

    def _send(self, upload: Mapping[str, str], number: int) -> dict[str, Any]:
        with self._path.open("rb") as file:
            file.seek((number - 1) * self._step)
            body = file.read(self._step)
        try:
            sent = self._client.upload_part(**upload, **self._checksums, PartNumber=number, Body=body)
        finally:
            if self._failed.is_set():
                self._give_up(upload)  # S3 may keep a part that arrives while its upload is given up
        told = {name: value for name, value in sent.items() if name.startswith("Checksum")}
        return {"PartNumber": number, "ETag": sent["ETag"]} | told

    def _give_up(self, upload: Mapping[str, str]) -> None:
        try:
            self._client.abort_multipart_upload(**upload)
        except Exception as error:  # the first reason is the one to tell
            _log.info("an upload was not given up: %s", type(error).__name__)
