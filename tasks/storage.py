"""
S3 in and out, and where our own store is. boto3 is imported at first use.

Stores that are folders are in `tasks.objects`; both look the same from outside.
"""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from musetalk_core.errors import InputError
from tasks import s3_clients
from tasks.errors import BucketNotAllowed, StorageError
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
from tasks.s3_answers import CHANGED, UNKNOWN, Mode, code_of, condition, said, total_of, version_of
from tasks.settings import get_settings
from tasks.tenancy import current_tenant

__all__ = [
    "FolderObjects",
    "ObjectInfo",
    "Objects",
    "Place",
    "S3Objects",
    "bucket",
    "home_store",
    "locate",
    "read_small",
    "store_is_remote",
]

_OWN_FOLDERS = ("artefacts", "assets", "avatars", "batches")
"""Parts of our own store that no job writes through an s3:// reference."""
_OF_TENANT = "{tenant}"
"""Stands in a grant for the name of whose job it is; nobody in particular has no such grant."""


@dataclass(frozen=True, slots=True)
class Place:
    """An object by its store and its key there."""

    objects: Objects
    key: str


def locate(uri: str, mode: Mode) -> Place:
    """
    Find the store and key behind an `s3://bucket/key` reference, if the grants allow it.

    Nothing is sent: the allow-lists of the settings are looked at first.

    Raises:
        InputError:       it is no such reference.
        BucketNotAllowed: the bucket or prefix is not on the list, or it is a private part of our own store.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme.lower() != "s3" or not bucket or not key:
        raise InputError(f"{uri[:200]!r} is not an s3://bucket/key reference")
    if ".." in key.split("/"):
        raise BucketNotAllowed(f"the key of s3://{bucket} has '..' as a part", bucket=bucket)
    objects = S3Objects(bucket)
    _check_grant(bucket, key, mode)
    return Place(objects, key)


def bucket(name: str, mode: Mode) -> Objects:
    """
    Open a bucket that a job named; each key is held against the grants before it is used.

    Raises:
        BucketNotAllowed: on use, for a key outside the grants.
    """
    return S3Objects(name, check=lambda key: _check_grant(name, key, mode))


def _check_grant(bucket: str, key: str, mode: Mode) -> None:
    s3 = get_settings().s3
    if mode == "write":
        checked_key(key)
        _refuse_own_folders(bucket, key)
    allowed = s3.read_buckets if mode == "read" else s3.write_buckets
    if allowed is not None and not any(_matches(pattern, bucket, key) for pattern in allowed):
        setting = f"MUSETALK_S3__{mode.upper()}_BUCKETS"
        raise BucketNotAllowed(
            f"Jobs may not {mode} this part of bucket {bucket}; {setting} lists what they may.", bucket=bucket
        )


def _matches(pattern: str, bucket: str, key: str) -> bool:
    if _OF_TENANT in pattern:
        tenant = current_tenant()
        if tenant is None:
            return False
        pattern = pattern.replace(_OF_TENANT, tenant)
    wanted_bucket, _, prefix = pattern.removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/*")
    return fnmatchcase(bucket, wanted_bucket) and (
        not prefix or key == prefix or key.startswith(f"{prefix}/")
    )


def _refuse_own_folders(bucket: str, key: str) -> None:
    store = home_store()
    if isinstance(store, S3Objects) and store.bucket == bucket:
        inside = key.removeprefix(store.prefix) if key.startswith(store.prefix) else ""
        if inside.split("/", 1)[0] in _OWN_FOLDERS:
            raise BucketNotAllowed(f"{key[:100]!r} in bucket {bucket} is kept by this service", bucket=bucket)


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
        return S3Objects(bucket, prefix)
    if url.startswith("s3-bucket/"):
        block: Any = s3_clients.load_block(url)
        folder = str(block.bucket_folder or "")
        return S3Objects(str(block.bucket_name), folder, credentials=block.credentials)
    root = Path(url.removeprefix("file://")).expanduser()
    root.mkdir(parents=True, exist_ok=True)
    return FolderObjects(root)


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
            check:       raises for a full key that may not be used.
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

    def uri(self, key: str) -> str:
        """Name an object."""
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def head(self, key: str) -> ObjectInfo:
        """Look at an object; its version is its VersionId where the bucket keeps versions, else its ETag."""
        with self._errors(key, "read"):
            return self._info(key, self._client().head_object(**self._where(key)))

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
        """Store a file; big ones in parts, which are given up when one fails or the job is stopped."""
        about = {"ContentType": content_type, "Metadata": dict(metadata or {})}
        checked_key(key)
        with self._errors(key, "write"):
            client, where = self._client(only_new=not overwrite), self._where(key)
            if path.stat().st_size > PART_BYTES:
                upload_in_parts(client, path, where, about)
            else:
                with path.open("rb") as file:
                    client.put_object(**where, **about, Body=file)
        return self.head(key)

    def put_bytes(
        self,
        key: str,
        data: bytes,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = True,
    ) -> ObjectInfo:
        """Store a small object from memory, in one request."""
        about = {"ContentType": content_type, "Metadata": dict(metadata or {})}
        checked_key(key)
        with self._errors(key, "write"):
            self._client(only_new=not overwrite).put_object(**self._where(key), **about, Body=data)
        return self.head(key)

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
        with self._errors(prefix, "read"):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix):
                for entry in page.get("Contents", []):
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

    def presigned_url(self, key: str, seconds: int) -> str | None:
        """Make a link that works without credentials for a while."""
        with self._errors(key, "read"):
            return str(
                self._client().generate_presigned_url("get_object", self._where(key), ExpiresIn=seconds)
            )

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
