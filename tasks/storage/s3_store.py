"""
Object store in an S3 bucket. boto3 is imported at first use.

The interface is in `tasks.storage.object_store`, the folder store in `tasks.storage.folder_store`.
"""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.errors import BucketNotAllowed, ObjectMissing, OutputExists, StorageError
from tasks.settings import get_settings
from tasks.storage import s3_clients
from tasks.storage.object_store import (
    BLOCK_BYTES,
    ObjectInfo,
    OnBytes,
    PendingUpload,
    download_object,
    head_or_none,
    validate_key,
)
from tasks.storage.resumable_file import PartialFile
from tasks.storage.s3_errors import (
    CHANGED_CODES,
    NO_VERSION_CODES,
    NOT_IMPLEMENTED_CODES,
    AccessMode,
    error_code,
    modified_at,
    no_response_error,
    total_size,
    translate_error,
    version_argument,
    version_condition,
    version_of,
)
from tasks.storage.s3_multipart import PART_BYTES, upload_in_parts


class S3Store:
    """An object store in an S3 bucket, or below one prefix of it."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        credentials: Any = None,
        check: Callable[[str], None] | None = None,
    ) -> None:
        """
        Create a store; sends nothing.

        Args:
            bucket:      name of the bucket.
            prefix:      prefix of every key, joined by a slash.
            credentials: a loaded prefect-aws credentials block; None for the credentials of the settings.
            check:       raises BucketNotAllowed for a full key that may not be used; `list` omits such keys.
        """
        self.bucket = bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._credentials, self._check = credentials, check

    def _client(self, *, only_new: bool = False) -> Any:
        if self._credentials is None:
            return s3_clients.client(get_settings().s3, only_new, os.getpid())
        return s3_clients.block_client(get_settings().s3, self._credentials, only_new, os.getpid())

    def _link_client(self) -> Any:
        """Return a client that signs links for clients of the API; it sends nothing."""
        s3 = get_settings().s3
        if s3.public_endpoint_url:
            s3 = s3.model_copy(update={"endpoint_url": s3.public_endpoint_url})
        if self._credentials is None:
            return s3_clients.client(s3, False, os.getpid())
        return s3_clients.block_client(s3, self._credentials, False, os.getpid())

    def _object_arguments(self, key: str) -> dict[str, str]:
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
        """Return the `s3://` URI of an object."""
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def key_of(self, uri: str) -> str | None:
        """Return the key of a URI from `uri`; None for a URI outside this store."""
        root = f"s3://{self.bucket}/{self.prefix}"
        return uri.removeprefix(root) if uri.startswith(root) else None

    def head(self, key: str, version: str | None = None) -> ObjectInfo:
        """Return the metadata of an object; its version is the VersionId if it has one, else the ETag."""
        with self._translate_errors(key, "read"):
            try:
                response = self._client().head_object(
                    **self._object_arguments(key), **version_argument(version)
                )
            except Exception as error:
                if version is None or error_code(error) not in NO_VERSION_CODES:
                    raise
                raise ObjectMissing(f"There is no version {version} of {self.uri(key)}.", key=key) from error
            return self._info(key, response)

    def find(self, key: str) -> ObjectInfo | None:
        """Return the metadata of an object, or None if it does not exist."""
        return head_or_none(self, key)

    def _info(self, key: str, response: Mapping[str, Any], size: int | None = None) -> ObjectInfo:
        total = total_size(response) if size is None else size
        if total is None:
            raise StorageError(f"The storage does not report the size of {self.uri(key)}.", key=key)
        return ObjectInfo(
            self.uri(key),
            key,
            total,
            version_of(response),
            modified_at(response),
            response.get("Metadata", {}),
        )

    def download_into(
        self, part: PartialFile, key: str, version: str | None = None, on_bytes: OnBytes | None = None
    ) -> ObjectInfo:
        """Download the rest of an object into `part`, with retries after interruptions."""
        tries = get_settings().s3.max_attempts
        while True:
            size_before = part.size
            try:
                info = self._get_rest(part, key, version, on_bytes)
            except _ObjectChanged:
                part.restart()
                tries -= 1
                if tries <= 0:
                    raise StorageError(f"{self.uri(key)} changed repeatedly while it was read.") from None
                version = self.head(key).version
                continue
            except StorageError as error:
                tries -= part.size == size_before  # count only attempts that made no progress
                if not error.retryable or tries <= 0:
                    raise
                continue
            return info

    def _get_rest(
        self, part: PartialFile, key: str, version: str | None, on_bytes: OnBytes | None
    ) -> ObjectInfo:
        """Send one GET for the missing bytes; raise _ObjectChanged if the part belongs to other content."""
        arguments = self._object_arguments(key) | version_condition(version)
        if part.size:
            if version:
                arguments["Range"] = f"bytes={part.size}-"
            else:  # nothing shows that the object is still the same
                part.restart()
        with self._translate_errors(key, "read"):
            try:
                response = self._client().get_object(**arguments)
            except Exception as error:
                if error_code(error) not in CHANGED_CODES:
                    raise
                info = self.head(key)
                if info.version == version and info.size == part.size:
                    return info  # the part was already complete, so the range was empty
                raise _ObjectChanged from error
            total = total_size(response)
            part.check_size(total or 0)
            for block in response["Body"].iter_chunks(BLOCK_BYTES):
                part.write(block)
                if on_bytes:
                    on_bytes(len(block))
        if total not in {None, part.size}:
            raise StorageError(f"the storage sent fewer bytes of {self.uri(key)} than announced")
        return self._info(key, response, part.size)

    def download(
        self, key: str, version: str | None, target: Path, on_bytes: OnBytes | None = None
    ) -> ObjectInfo:
        """Download an object to `target`, resuming the partial file that an interrupted call left."""
        return download_object(self, key, version, target, on_bytes)

    def upload(
        self,
        path: Path,
        key: str,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = True,
    ) -> ObjectInfo:
        """
        Store a file; a big one by multipart upload, which is aborted if a part fails or the job is canceled.

        Without `overwrite` the write is conditional (`If-None-Match: *`). If the store responds with 501, the
        key is checked before and after an unconditional write. Two concurrent writers may then both succeed;
        the replaced object is detected when its result is read.
        """
        attributes: dict[str, Any] = {"ContentType": content_type, "Metadata": dict(metadata or {})}

        def put(only_new: bool) -> Mapping[str, Any]:
            return self._put_file(path, key, attributes, only_new=only_new)

        return self._write(key, path.stat().st_size, put, attributes["Metadata"], overwrite)

    def _write(
        self,
        key: str,
        size: int,
        put: Callable[[bool], Mapping[str, Any]],
        metadata: Mapping[str, str],
        overwrite: bool,
    ) -> ObjectInfo:
        """Write an object as `upload` describes; `put(True)` sends a conditional write."""
        validate_key(key)
        with self._translate_errors(key, "write"):
            try:
                stored = put(not overwrite)
                is_checked = True
            except Exception as error:
                if overwrite or error_code(error) not in NOT_IMPLEMENTED_CODES:
                    raise
                self._refuse_existing(key)
                stored = put(False)
                is_checked = False
        version = version_of(stored)
        current = self.find(key)
        # a store that names no version in its response to a write may name one in its response to a HEAD
        if current is not None and (current.version == version or (not version and current.size == size)):
            return current
        if not is_checked:
            raise OutputExists(f"{self.uri(key)} was written by another client at the same time", key=key)
        return ObjectInfo(self.uri(key), key, size, version, datetime.now(UTC), metadata)

    def _put_file(
        self, path: Path, key: str, attributes: Mapping[str, Any], *, only_new: bool
    ) -> Mapping[str, Any]:
        client, target = self._client(only_new=only_new), self._object_arguments(key)
        if path.stat().st_size > PART_BYTES:
            return upload_in_parts(client, path, target, attributes)
        with path.open("rb") as file:
            return client.put_object(**target, **attributes, Body=file)

    def _refuse_existing(self, key: str) -> None:
        if self.find(key) is not None:
            raise OutputExists(f"{self.uri(key)} exists and must not be overwritten.", key=key)

    def put_bytes(
        self,
        key: str,
        data: bytes,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = True,
    ) -> ObjectInfo:
        """Store a small object from memory in one request, otherwise as `upload` does."""
        attributes: dict[str, Any] = {"ContentType": content_type, "Metadata": dict(metadata or {})}

        def put(only_new: bool) -> Mapping[str, Any]:
            return self._client(only_new=only_new).put_object(
                **self._object_arguments(key), **attributes, Body=data
            )

        return self._write(key, len(data), put, attributes["Metadata"], overwrite)

    def read(
        self, key: str, start: int = 0, length: int | None = None, version: str | None = None
    ) -> Iterator[bytes]:
        """Yield an object's bytes in blocks of at most 1 MiB."""
        arguments = self._object_arguments(key) | version_condition(version)
        if start or length is not None:
            arguments["Range"] = f"bytes={start}-" + ("" if length is None else str(start + length - 1))
        with self._translate_errors(key, "read"):
            try:
                response = self._client().get_object(**arguments)
            except Exception as error:
                if error_code(error) in {"416", "InvalidRange"}:
                    return  # `start` is at or after the end of the object
                raise
            with closing(response["Body"]) as body:  # a reader may stop early
                yield from body.iter_chunks(BLOCK_BYTES)

    def delete(self, key: str) -> None:
        """Delete an object; a missing object is ignored."""
        with self._translate_errors(key, "write"):
            self._client().delete_object(**self._object_arguments(key))

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, ordered by key. The versions are always ETags."""
        if self._check:
            self._check(self.prefix + prefix)
        with self._translate_errors(prefix, "read"):
            pages = self._client().get_paginator("list_objects_v2")
            start = {"StartAfter": self.prefix + after} if after is not None else {}
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix, **start):
                for entry in page.get("Contents", []):
                    if not self._may_use(str(entry["Key"])):
                        continue
                    key = str(entry["Key"]).removeprefix(self.prefix)
                    yield self._info(key, entry, int(entry["Size"])) if "Size" in entry else self.head(key)

    def pending_uploads(self) -> Iterator[PendingUpload]:
        """Yield the multipart uploads that were neither completed nor aborted."""
        with self._translate_errors("", "read"):
            pages = self._client().get_paginator("list_multipart_uploads")
            try:
                for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix):
                    for entry in page.get("Uploads", []):
                        key = str(entry["Key"]).removeprefix(self.prefix)
                        started_at = entry.get("Initiated") or datetime.now(UTC)  # unknown: never expired
                        yield PendingUpload(key, str(entry["UploadId"]), started_at)
            except Exception as error:
                if (
                    error_code(error) not in NOT_IMPLEMENTED_CODES
                ):  # some stores cannot list multipart uploads
                    raise

    def pending_size(self, pending: PendingUpload) -> int:
        """Return the total size of the parts that have arrived, in bytes."""
        arguments = self._object_arguments(pending.key) | {"UploadId": pending.upload}
        with self._translate_errors(pending.key, "read"):
            pages = self._client().get_paginator("list_parts").paginate(**arguments)
            return sum(int(part.get("Size", 0)) for page in pages for part in page.get("Parts", []))

    def abort(self, pending: PendingUpload) -> None:
        """Abort a multipart upload, which removes its parts."""
        arguments = self._object_arguments(pending.key) | {"UploadId": pending.upload}
        with self._translate_errors(pending.key, "write"):
            self._client().abort_multipart_upload(**arguments)

    def presigned_url(
        self, key: str, seconds: int, version: str | None = None, disposition: str | None = None
    ) -> str | None:
        """Return a presigned URL for a GET of an object."""
        arguments = self._object_arguments(key) | version_argument(version)
        if disposition:
            arguments["ResponseContentDisposition"] = disposition
        with self._translate_errors(key, "read"):
            return str(self._link_client().generate_presigned_url("get_object", arguments, ExpiresIn=seconds))

    def presigned_put(self, key: str, size: int, content_type: str, seconds: int) -> str:
        """
        Return a presigned URL for a PUT of one object of this size and content type.

        Both headers are signed: the store refuses a client that sends other values.
        """
        signed_headers = {"ContentLength": size, "ContentType": content_type}
        with self._translate_errors(key, "write"):
            params = self._object_arguments(key) | signed_headers
            return str(self._link_client().generate_presigned_url("put_object", params, ExpiresIn=seconds))

    def presigned_part(self, key: str, upload: str, number: int, size: int, seconds: int) -> str:
        """Return a presigned URL for a PUT of one part, of exactly this size, of a multipart upload."""
        signed = {"UploadId": upload, "PartNumber": number, "ContentLength": size}
        with self._translate_errors(key, "write"):
            params = self._object_arguments(key) | signed
            return str(self._link_client().generate_presigned_url("upload_part", params, ExpiresIn=seconds))

    @contextmanager
    def requests(self, key: str, mode: AccessMode) -> Generator[tuple[Any, dict[str, str]]]:
        """
        Yield the boto3 client, and the arguments Bucket and Key, for requests that have no method here.

        Args:
            key:  key of the object.
            mode: what the requests do, for the translation of errors.
        """
        with self._translate_errors(key, mode):
            yield self._client(), self._object_arguments(key)

    @contextmanager
    def _translate_errors(self, key: str, mode: AccessMode) -> Generator[None]:
        """Translate errors of boto3 to `tasks.errors`."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            yield
        except (ClientError, Boto3Error) as error:
            raise translate_error(error, self.bucket, self.prefix + key, mode) from error
        except (BotoCoreError, HTTPClientError, ConnectionError, TimeoutError) as error:
            raise no_response_error(error, self.bucket, self.uri(key)) from error


class _ObjectChanged(Exception):
    """The object changed: the partial file belongs to another version."""
