"""
S3 in and out, and where our own store is. boto3 is imported at first use.

Stores that are folders are in `tasks.objects`; both look the same from outside.
"""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from tasks import s3_clients
from tasks.errors import BucketNotAllowed, ObjectMissing, OutputExists, StorageError
from tasks.multipart import PART_BYTES, upload_in_parts
from tasks.objects import (
    BLOCK,
    FolderObjects,
    ObjectInfo,
    Objects,
    OnBytes,
    Unfinished,
    checked_key,
    download,
    found,
    read_small,
)
from tasks.partial import Part
from tasks.protected_paths import is_bucket_alias
from tasks.s3_answers import (
    CHANGED,
    NO_VERSION,
    UNKNOWN,
    Mode,
    code_of,
    condition,
    pinned_by,
    said,
    total_of,
    version_of,
)
from tasks.settings import get_settings

__all__ = [
    "FolderObjects",
    "ObjectInfo",
    "Objects",
    "S3Objects",
    "home_store",
    "read_small",
    "store_is_remote",
]


def home_store() -> Objects:
    """Return our own store: uploads under `assets/`, results under `outputs/`, shared artefacts."""
    return _opened_store(get_settings().store_url)


def store_is_remote() -> bool:
    """Tell whether our own store is in S3 rather than a folder of this machine."""
    return get_settings().store_url.startswith(("s3://", "s3-bucket/"))


@lru_cache(maxsize=4)
def _opened_store(url: str) -> Objects:
    if url.startswith("s3://"):
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        return S3Objects(_own_bucket(bucket), prefix)
    if url.startswith("s3-bucket/"):
        block: Any = s3_clients.load_block(url)
        folder = str(block.bucket_folder or "")
        return S3Objects(_own_bucket(str(block.bucket_name)), folder, credentials=block.credentials)
    root = Path(url.removeprefix("file://")).expanduser()
    root.mkdir(parents=True, exist_ok=True)
    return FolderObjects(root)


def _own_bucket(bucket: str) -> str:
    if is_bucket_alias(bucket):
        raise BucketNotAllowed(
            f"MUSETALK_STORE__URL names the access point {bucket}. Name the bucket itself: jobs could reach"
            " the store by the bucket's own name.",
            bucket=bucket,
        )
    return bucket


class S3Objects:
    """A bucket, or what lies under one prefix of it."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        credentials: Any = None,
        check: Callable[[str], None] | None = None,
    ) -> None:
        """
        Name a bucket; nothing is sent yet.

        Args:
            bucket:      its name.
            prefix:      goes before every key, with a slash between.
            credentials: a loaded prefect-aws credentials block; None for what the settings say.
            check:       raises BucketNotAllowed for a full key that may not be used; `list` leaves those out.
        """
        self.bucket = bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._credentials, self._check = credentials, check

    def _client(self, *, only_new: bool = False) -> Any:
        if self._credentials is None:
            return s3_clients.client(get_settings().s3, only_new, os.getpid())
        return s3_clients.block_client(get_settings().s3, self._credentials, only_new, os.getpid())

    def _where(self, key: str) -> dict[str, str]:
        if self._check:
            self._check(self.prefix + key)
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def _may_use(self, full_key: str) -> bool:
        try:
            if self._check:
                self._check(full_key)
        except BucketNotAllowed:
            return False
        return True

    def uri(self, key: str) -> str:
        """Name an object."""
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def key_of(self, uri: str) -> str | None:
        """Return the key that `uri` gave a name to; None for what lies elsewhere."""
        root = f"s3://{self.bucket}/{self.prefix}"
        return uri.removeprefix(root) if uri.startswith(root) else None

    def head(self, key: str, version: str | None = None) -> ObjectInfo:
        """Look at an object; its version is its VersionId where the bucket keeps versions, else its ETag."""
        with self._errors(key, "read"):
            try:
                answer = self._client().head_object(**self._where(key), **pinned_by(version))
            except Exception as error:
                if version is None or code_of(error) not in NO_VERSION:
                    raise
                raise ObjectMissing(f"There is no version {version} of {self.uri(key)}.", key=key) from error
            return self._info(key, answer)

    def find(self, key: str) -> ObjectInfo | None:
        """Look at an object that may not be there."""
        return found(self, key)

    def _info(self, key: str, answer: Mapping[str, Any], size: int | None = None) -> ObjectInfo:
        total = int(answer["ContentLength"]) if size is None else size
        return ObjectInfo(
            self.uri(key), key, total, version_of(answer), answer["LastModified"], answer.get("Metadata", {})
        )

    def download_into(
        self, part: Part, key: str, version: str | None = None, on_bytes: OnBytes | None = None
    ) -> ObjectInfo:
        """Append to `part` what it lacks of an object, going on after interruptions."""
        tries = get_settings().s3.max_attempts
        while True:
            before = part.size
            try:
                info = self._get_rest(part, key, version, on_bytes)
            except _Changed:
                part.restart()
                tries -= 1
                if tries <= 0:
                    raise StorageError(f"{self.uri(key)} changes faster than it can be read.") from None
                version = self.head(key).version
                continue
            except StorageError as error:
                tries -= part.size == before  # an attempt that brought something costs nothing
                if not error.retryable or tries <= 0:
                    raise
                continue
            return info

    def _get_rest(self, part: Part, key: str, version: str | None, on_bytes: OnBytes | None) -> ObjectInfo:
        """Send one GET for what is missing; raises _Changed when the part belongs to other content."""
        asked = self._where(key) | condition(version)
        if part.size:
            if version is None:
                part.restart()
            else:
                asked["Range"] = f"bytes={part.size}-"
        with self._errors(key, "read"):
            try:
                answer = self._client().get_object(**asked)
            except Exception as error:
                if code_of(error) not in CHANGED:
                    raise
                info = self.head(key)
                if info.version == version and info.size == part.size:
                    return info  # the part was complete: no byte is left to ask for
                raise _Changed from error
            total = total_of(answer)
            part.expect(total)
            for block in answer["Body"].iter_chunks(BLOCK):
                part.write(block)
                if on_bytes:
                    on_bytes(len(block))
        if part.size != total:
            raise StorageError(f"the storage ended {self.uri(key)} too early")
        return self._info(key, answer, total)

    def download(
        self, key: str, version: str | None, target: Path, on_bytes: OnBytes | None = None
    ) -> ObjectInfo:
        """Write an object to `target`, going on with what an interrupted call left."""
        return download(self, key, version, target, on_bytes)

    def upload(
        self,
        path: Path,
        key: str,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = True,
    ) -> ObjectInfo:
        """
        Store a file; big ones in parts, which are given up when one fails or the job is stopped.

        Without `overwrite` the write is conditional (`If-None-Match: *`). If the store answers 501 to that,
        the object is checked before and after an ordinary write. Two concurrent writers may then both
        succeed; the replaced one is detected when its result is read.
        """
        about: dict[str, Any] = {"ContentType": content_type, "Metadata": dict(metadata or {})}

        def put(only_new: bool) -> Mapping[str, Any]:
            return self._put(path, key, about, only_new=only_new)

        return self._store(key, path.stat().st_size, put, about["Metadata"], overwrite)

    def _store(
        self,
        key: str,
        size: int,
        put: Callable[[bool], Mapping[str, Any]],
        metadata: Mapping[str, str],
        overwrite: bool,
    ) -> ObjectInfo:
        """Write an object on the terms of `upload`; `put(True)` sends it as a conditional write."""
        checked_key(key)
        with self._errors(key, "write"):
            try:
                stored = put(not overwrite)
                is_checked = True
            except Exception as error:
                if overwrite or code_of(error) not in UNKNOWN:
                    raise
                self._refuse_taken(key)
                stored = put(False)
                is_checked = False
        version = version_of(stored)
        now = self.find(key)
        if now is not None and now.version == version:
            return now
        if not is_checked:
            raise OutputExists(f"{self.uri(key)} was written by somebody else at the same time", key=key)
        return ObjectInfo(self.uri(key), key, size, version, datetime.now(UTC), metadata)

    def _put(self, path: Path, key: str, about: Mapping[str, Any], *, only_new: bool) -> Mapping[str, Any]:
        client, where = self._client(only_new=only_new), self._where(key)
        if path.stat().st_size > PART_BYTES:
            return upload_in_parts(client, path, where, about)
        with path.open("rb") as file:
            return client.put_object(**where, **about, Body=file)

    def _refuse_taken(self, key: str) -> None:
        if self.find(key) is not None:
            raise OutputExists(f"{self.uri(key)} exists and is not to be overwritten.", key=key)

    def put_bytes(
        self,
        key: str,
        data: bytes,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = True,
    ) -> ObjectInfo:
        """Store a small object from memory, in one request, on the terms of `upload`."""
        about: dict[str, Any] = {"ContentType": content_type, "Metadata": dict(metadata or {})}

        def put(only_new: bool) -> Mapping[str, Any]:
            return self._client(only_new=only_new).put_object(**self._where(key), **about, Body=data)

        return self._store(key, len(data), put, about["Metadata"], overwrite)

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield an object's bytes."""
        asked = self._where(key)
        if start or length is not None:
            asked["Range"] = f"bytes={start}-" + ("" if length is None else str(start + length - 1))
        with self._errors(key, "read"):
            try:
                answer = self._client().get_object(**asked)
            except Exception as error:
                if code_of(error) in {"416", "InvalidRange"}:
                    return  # nothing at and after `start`
                raise
            yield from answer["Body"].iter_chunks(BLOCK)

    def delete(self, key: str) -> None:
        """Remove an object; it may be gone already."""
        with self._errors(key, "write"):
            self._client().delete_object(**self._where(key))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, ordered by key. Versions are ETags here."""
        if self._check:
            self._check(self.prefix + prefix)
        with self._errors(prefix, "read"):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix):
                for entry in page.get("Contents", []):
                    if not self._may_use(str(entry["Key"])):
                        continue
                    yield self._info(str(entry["Key"]).removeprefix(self.prefix), entry, int(entry["Size"]))

    def unfinished(self) -> Iterator[Unfinished]:
        """Yield the uploads in parts that were begun, and neither completed nor given up."""
        with self._errors("", "read"):
            pages = self._client().get_paginator("list_multipart_uploads")
            try:
                for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix):
                    for entry in page.get("Uploads", []):
                        key = str(entry["Key"]).removeprefix(self.prefix)
                        yield Unfinished(key, str(entry["UploadId"]), entry["Initiated"])
            except Exception as error:
                if code_of(error) not in UNKNOWN:  # some stores cannot say what is unfinished in them
                    raise

    def size_of(self, unfinished: Unfinished) -> int:
        """Add up the parts that have arrived."""
        asked = self._where(unfinished.key) | {"UploadId": unfinished.upload}
        with self._errors(unfinished.key, "read"):
            pages = self._client().get_paginator("list_parts").paginate(**asked)
            return sum(int(part["Size"]) for page in pages for part in page.get("Parts", []))

    def give_up(self, unfinished: Unfinished) -> None:
        """Have the parts removed."""
        asked = self._where(unfinished.key) | {"UploadId": unfinished.upload}
        with self._errors(unfinished.key, "write"):
            self._client().abort_multipart_upload(**asked)

    def presigned_url(
        self, key: str, seconds: int, version: str | None = None, disposition: str | None = None
    ) -> str | None:
        """Make a link that works without credentials for a while."""
        asked = self._where(key) | pinned_by(version)
        if disposition:
            asked["ResponseContentDisposition"] = disposition
        with self._errors(key, "read"):
            return str(self._client().generate_presigned_url("get_object", asked, ExpiresIn=seconds))

    def presigned_put(self, key: str, size: int, content_type: str, seconds: int) -> str:
        """
        Make a link to which anybody may PUT one object of this size and type for a while.

        Both are signed: a client that sends other headers is refused by the store.
        """
        more = {"ContentLength": size, "ContentType": content_type}
        with self._errors(key, "write"):
            params = self._where(key) | more
            return str(self._client().generate_presigned_url("put_object", params, ExpiresIn=seconds))

    @contextmanager
    def _errors(self, key: str, mode: Mode) -> Generator[None]:
        """Say in our words what boto3 raises."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            yield
        except (ClientError, Boto3Error) as error:
            raise said(error, self.bucket, self.prefix + key, mode) from error
        except (BotoCoreError, HTTPClientError, ConnectionError, TimeoutError) as error:
            raise StorageError(
                f"The storage of {self.uri(key)} does not answer or has no credentials"
                f" ({type(error).__name__}); check the MUSETALK_S3__ settings.",
                bucket=self.bucket,
            ) from error


class _Changed(Exception):
    """The object is not the one whose beginning we have."""
