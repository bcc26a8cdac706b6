"""
S3 objects that are written in several sessions, as multipart uploads.

All parts but the last have the same size, so a part's number is its position: two processes that write at the
same time replace parts by parts of the same position. S3 refuses small parts. Bytes that do not fill a part
at the end of a session are stored as an object of their own, the tail, with the position at which it begins;
a tail of another position is out of date. One part is held in memory.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from tasks.errors import OffsetMismatch
from tasks.storage.object_store import read_small
from tasks.storage.s3_errors import error_code
from tasks.storage.s3_store import S3Store

_PART_BYTES: Final = 8 << 20
_MAX_PARTS: Final = 10_000
_START: Final = "musetalk-start"
"""Metadata of the tail: its position in the object."""
_GONE_CODES: Final = frozenset({"NoSuchUpload", "404"})


def part_size(size: int) -> int:
    """Return the size of the parts of an object: 8 MiB, or more if S3's 10,000 parts would not suffice."""
    return max(_PART_BYTES, -(-size // _MAX_PARTS))


@dataclass(frozen=True, slots=True)
class PartLink:
    """A part that is not stored yet, and a presigned URL for the PUT of exactly its bytes."""

    number: int
    offset: int
    size: int
    url: str


class S3Append:
    """A multipart upload, and the object that it becomes."""

    def __init__(self, store: S3Store, key: str, tail_key: str, size: int, token: str) -> None:
        """
        Name a multipart upload; sends nothing.

        Args:
            store:    the store.
            key:      key of the complete object.
            tail_key: key of the tail.
            size:     size of the complete object in bytes.
            token:    id of the multipart upload; empty before `begin`.
        """
        self._store, self._key, self._tail_key = store, key, tail_key
        self._size, self._token = size, token
        self.part_bytes = part_size(size)
        """Size of all parts but the last, in bytes."""

    def begin(self, *, is_direct: bool = False) -> str:
        """
        Create the multipart upload and return its id.

        Args:
            is_direct: the parts come from clients with presigned URLs, which send no checksums of parts. S3
                refuses parts without checksums in an upload that was created with them, and the reverse.
        """
        with self._store.requests(self._key, "write") as (client, target):
            checksums = {} if is_direct else _checksums(client)
            arguments = target | {"ContentType": "application/octet-stream"} | checksums
            self._token = str(client.create_multipart_upload(**arguments)["UploadId"])
        return self._token

    def offset(self) -> int:
        """Return the size of the parts and of the tail; the object's size if it is complete."""
        parts = self._parts()
        if parts is None:
            return self._completed_size()
        start = sum(int(part["Size"]) for part in parts)
        return min(start + len(self._tail_at(start)), self._size)

    def open(self, offset: int) -> "S3Session":
        """Read the tail and start a session; see `AppendTarget.open`. Processes do not exclude each other."""
        parts = self._parts()
        if parts is None:
            raise OffsetMismatch(f"The upload is complete: all {self._completed_size()} bytes are stored.")
        start = sum(int(part["Size"]) for part in parts)
        tail = self._tail_at(start)
        if start + len(tail) != offset:
            raise OffsetMismatch(f"The next byte of the upload has the offset {start + len(tail)}.")
        return S3Session(self, start, tail)

    def complete(self) -> None:
        """Join the parts, and delete the tail."""
        parts = self._parts()
        if parts is None:
            self._completed_size()
            return
        proofs = [
            {
                name: value
                for name, value in part.items()
                if name.startswith(("PartNumber", "Checksum", "ETag"))
            }
            for part in parts
        ]
        with self._store.requests(self._key, "write") as (client, target):
            client.complete_multipart_upload(
                **target, UploadId=self._token, MultipartUpload={"Parts": proofs}
            )
        self._store.delete(self._tail_key)

    def missing_parts(self, limit: int, seconds: int) -> list[PartLink]:
        """
        Return the first parts that are not stored; none if the object is complete.

        Args:
            limit:   maximum number of parts.
            seconds: lifetime of their URLs.
        """
        stored = self._stored_parts()
        if stored is None:
            self._completed_size()
            return []
        count = -(-self._size // self.part_bytes)
        missing = (number for number in range(1, count + 1) if number not in stored)
        return [self._link(number, seconds) for number in islice(missing, limit)]

    def _link(self, number: int, seconds: int) -> PartLink:
        size = self._expected_size(number)
        url = self._store.presigned_part(self._key, self._token, number, size, seconds)
        return PartLink(number, (number - 1) * self.part_bytes, size, url)

    def abort(self) -> None:
        """Abort the multipart upload, and delete the tail."""
        with self._store.requests(self._key, "write") as (client, target):
            try:
                client.abort_multipart_upload(**target, UploadId=self._token)
            except Exception as error:
                if error_code(error) not in _GONE_CODES:  # else another process aborted it
                    raise
        self._store.delete(self._tail_key)

    def send_part(self, start: int, body: bytes) -> None:
        """
        Store one part.

        Args:
            start: position of the part; a multiple of the part size.
            body:  its bytes: as many as the part size, except for the last part.
        """
        with self._store.requests(self._key, "write") as (client, target):
            number = start // self.part_bytes + 1
            client.upload_part(
                **target, **_checksums(client), UploadId=self._token, PartNumber=number, Body=body
            )

    def send_tail(self, start: int, body: bytes) -> None:
        """Store bytes that do not fill a part yet."""
        self._store.put_bytes(self._tail_key, body, metadata={_START: str(start)})

    def split(self, start: int, buffered: bytearray) -> Iterator[bytes]:
        """Yield the complete parts at the beginning of a buffer, the last part of the object included."""
        while len(buffered) >= self.part_bytes or (buffered and start + len(buffered) == self._size):
            body = bytes(buffered[: self.part_bytes])
            yield body
            start += len(body)
            del buffered[: len(body)]

    def _parts(self) -> list[Mapping[str, Any]] | None:
        """Return the parts without a gap from the first on; None if the upload was completed or aborted."""
        stored = self._stored_parts()
        if stored is None:
            return None
        parts: list[Mapping[str, Any]] = []
        while len(parts) + 1 in stored:
            parts.append(stored[len(parts) + 1])
        return parts

    def _stored_parts(self) -> Mapping[int, Mapping[str, Any]] | None:
        """Return the parts that have their size, by number; None if the upload was completed or aborted."""
        with self._store.requests(self._key, "read") as (client, target):
            pages = client.get_paginator("list_parts").paginate(**target, UploadId=self._token)
            try:
                listed = [part for page in pages for part in page.get("Parts", [])]
            except Exception as error:
                if error_code(error) in _GONE_CODES:
                    return None
                raise
        by_number = {int(part["PartNumber"]): part for part in listed}
        return {
            number: part
            for number, part in by_number.items()
            if int(part["Size"]) == self._expected_size(number)
        }

    def _expected_size(self, number: int) -> int:
        return min(self.part_bytes, self._size - (number - 1) * self.part_bytes)

    def _tail_at(self, start: int) -> bytes:
        info = self._store.find(self._tail_key)
        if info is None or info.metadata.get(_START) != str(start):
            return b""
        return read_small(self._store, self._tail_key, self.part_bytes)

    def _completed_size(self) -> int:
        """Return the size of the complete object; ObjectMissing if the upload was aborted."""
        return self._store.head(self._key).size


class S3Session:
    """Buffers bytes until they fill a part."""

    def __init__(self, target: S3Append, start: int, tail: bytes) -> None:
        """
        Continue after the stored parts.

        Args:
            target: the multipart upload.
            start:  size of the stored parts.
            tail:   bytes after them, which a former session stored.
        """
        self._target, self._start = target, start
        self._buffer, self._stored = bytearray(tail), start + len(tail)
        self.offset = self._stored

    def write(self, block: bytes) -> None:
        """Append a block; sends the parts that are complete."""
        self._buffer += block
        self.offset += len(block)
        for part in self._target.split(self._start, self._buffer):
            self._target.send_part(self._start, part)
            self._start += len(part)
            self._stored = self._start

    def sync(self) -> None:
        """Store the bytes that do not fill a part."""
        if self.offset > self._stored:
            # more than one part is left only if a part could not be sent
            tail = bytes(self._buffer[: self._target.part_bytes])
            self._target.send_tail(self._start, tail)
            self._stored = self.offset = self._start + len(tail)

    def close(self) -> None:
        """Drop what was not stored."""
        self._buffer.clear()


def _checksums(client: Any) -> dict[str, str]:
    """Return the checksum argument, if the client's configuration sends checksums."""
    is_on = client.meta.config.request_checksum_calculation == "when_supported"
    return {"ChecksumAlgorithm": "CRC32"} if is_on else {}
