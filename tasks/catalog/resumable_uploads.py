"""
Resumable uploads in the system's own store: unfinished assets.

Imports no torch: the REST API uses this module. An upload has a record and unfinished data below
`uploads/TENANT/ID/`, and becomes the asset of the same id. All state is in the store, so that a restarted or
another API process continues an upload. Only the tenant that created an upload can use it.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from musetalk_core.errors import MediaTooLarge, MediaUnreadable
from tasks.catalog.assets import asset_is_described, asset_key, describe_asset
from tasks.errors import (
    DirectUploadUnavailable,
    ObjectMissing,
    UploadExpired,
    UploadLimitReached,
    UploadMissing,
)
from tasks.file_names import plain_name
from tasks.run.tenancy import current_tenant, on_behalf_of
from tasks.settings import get_settings
from tasks.storage.append_target import AppendTarget, append_target
from tasks.storage.folder_store import FolderStore
from tasks.storage.home_store import home_store
from tasks.storage.object_store import read_small
from tasks.storage.s3_appends import PartLink, S3Append

UPLOADS_PREFIX: Final = "uploads/"
"""Key prefix of unfinished uploads in the system's own store."""
_NO_TENANT: Final = "_"
"""Folder of uploads without a tenant. It is not a valid tenant name."""
_UNFINISHED, _COMPLETE = "upload.json", "complete.json"
"""Names of the record. They differ so that listing the keys is enough to count the unfinished ones."""
_ID: Final = re.compile(r"[0-9a-f]{32}")
_MAX_HASHES: Final = 256
PART_LINK_LIFETIME_S: Final = 3600
"""Lifetime of a link for a part of a direct upload."""


class ResumableUpload(BaseModel):
    """The record of an upload; the number of bytes that have arrived is read from the store."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    size: int
    metadata: str = ""
    """Upload-Metadata as the client sent it."""
    tenant: str | None = None
    created_at: datetime
    expires_at: datetime
    token: str
    """Token of the unfinished object in the store; see `AppendTarget.begin`."""
    is_direct: bool = False
    """Whether its parts go to the bucket with presigned links."""
    is_complete: bool = False
    """Whether the upload has become an asset."""

    @property
    def is_expired(self) -> bool:
        """Whether the time to complete the upload is over."""
        return self.expires_at <= datetime.now(UTC)

    @property
    def target(self) -> AppendTarget:
        """The unfinished object in the store."""
        return _target(self.tenant, self.id, self.size, self.token)


def start_upload(name: str, size: int, metadata: str = "", *, is_direct: bool = False) -> ResumableUpload:
    """
    Create an upload of the current tenant.

    Args:
        name:      the client's file name.
        size:      size of the file in bytes.
        metadata:  text that `find_upload` returns unchanged.
        is_direct: the client sends the parts to the bucket; see `missing_parts`.

    Raises:
        DirectUploadUnavailable: `is_direct`, and the store is a folder.
        MediaUnreadable:    the file is empty.
        MediaTooLarge:      the size exceeds the limit of the settings.
        UploadLimitReached: the tenant has too many unfinished uploads.
        DiskFull, StorageError: the upload cannot be stored.
    """
    api, tenant = get_settings().api, current_tenant()
    if size == 0:
        raise MediaUnreadable("The uploaded file is empty.")
    if size > api.max_upload_bytes:
        limit = api.max_upload_bytes
        raise MediaTooLarge(f"The file is larger than the {limit / 1e6:.0f} MB allowed here.", limit=limit)
    if api.max_pending_uploads and _has_unfinished(tenant, api.max_pending_uploads):
        raise UploadLimitReached(
            f"{api.max_pending_uploads} uploads are unfinished, which is the limit. Complete or delete one."
        )
    upload, now = uuid4().hex, datetime.now(UTC)
    target = _target(tenant, upload, size)
    if is_direct and not isinstance(target, S3Append):
        raise DirectUploadUnavailable("This store accepts no direct uploads. Use POST /v1/uploads.")
    record = ResumableUpload(
        id=upload,
        name=plain_name(name),
        size=size,
        metadata=metadata,
        tenant=tenant,
        created_at=now,
        expires_at=now + timedelta(seconds=api.upload_lifetime_s),
        token=target.begin(is_direct=is_direct) if isinstance(target, S3Append) else target.begin(),
        is_direct=is_direct,
    )
    _write_record(record)
    return record


def find_upload(upload: str) -> ResumableUpload:
    """
    Return an upload of the current tenant, whether it is complete or not.

    Raises:
        UploadMissing: the tenant has no such upload.
        UploadExpired: it was not completed in time.
        StorageError:  the store does not respond.
    """
    tenant = current_tenant()
    if not _ID.fullmatch(upload):
        raise UploadMissing("There is no such upload.")
    folder = _folder(tenant, upload)
    record = _read_record(folder + _UNFINISHED) or _read_record(folder + _COMPLETE)
    if record is None:
        raise UploadMissing("There is no such upload; it may have been deleted.")
    if record.is_expired and not record.is_complete:
        raise UploadExpired("The upload has expired. Create a new one.")
    return record


def stored_bytes(upload: ResumableUpload) -> int:
    """
    Return the number of bytes that have arrived.

    Raises:
        UploadMissing: the data was deleted.
    """
    if upload.is_complete:
        return upload.size
    try:
        return upload.target.offset()
    except ObjectMissing as error:
        raise UploadMissing("The data of the upload was deleted.") from error


def missing_parts(upload: ResumableUpload, limit: int) -> list[PartLink]:
    """
    Return the first parts of a direct upload that are not stored, with presigned links.

    Args:
        upload: the upload.
        limit:  maximum number of parts.

    Raises:
        DirectUploadUnavailable: the upload is not a direct one.
    """
    target = upload.target
    if not upload.is_direct or not isinstance(target, S3Append):
        raise DirectUploadUnavailable("The bytes of this upload are sent by PATCH.")
    return [] if upload.is_complete else target.missing_parts(limit, PART_LINK_LIFETIME_S)


def finish_upload(upload: ResumableUpload, sha256: str | None = None) -> ResumableUpload:
    """
    Make the asset of an upload whose bytes are all stored, and return the record of the complete upload.

    A call that was interrupted can be repeated, and a repeated call changes nothing.

    Args:
        upload: the upload.
        sha256: SHA-256 of the bytes if it is known. Otherwise it is computed if the store is a folder, and
            left open if it is a bucket, as for uploads that go to the bucket directly.
    """
    if upload.is_complete:
        return upload
    store = home_store()
    if not asset_is_described(upload.id):
        upload.target.complete()
        if sha256 is None and isinstance(store, FolderStore):
            with store.path(asset_key(upload.id)).open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        with on_behalf_of(upload.tenant):
            describe_asset(upload.id, upload.name, upload.size, sha256)
    complete = upload.model_copy(update={"is_complete": True})
    _write_record(complete)
    store.delete(_folder(upload.tenant, upload.id) + _UNFINISHED)
    return complete


def delete_upload(upload: ResumableUpload) -> None:
    """Delete an upload. The asset that it has become stays."""
    if not upload.is_complete:
        upload.target.abort()
    for name in (_UNFINISHED, _COMPLETE):
        home_store().delete(_folder(upload.tenant, upload.id) + name)


def list_uploads() -> Iterator[ResumableUpload]:
    """Yield the uploads of all tenants, for maintenance; records that cannot be read are left out."""
    for info in home_store().list(UPLOADS_PREFIX):
        if info.key.endswith((_UNFINISHED, _COMPLETE)) and (record := _read_record(info.key)):
            yield record


class RunningHashes:
    """
    SHA-256 of unfinished uploads in one process, from their first byte on.

    A hash is lost when the process ends, when another process receives a part, or when too many uploads are
    unfinished.
    """

    def __init__(self) -> None:
        self._hashes: OrderedDict[str, tuple[int, Any]] = OrderedDict()

    def update(self, upload: str, offset: int, block: bytes) -> None:
        """
        Add a block.

        Args:
            upload: id of the upload.
            offset: position of the block.
            block:  bytes that were stored.
        """
        expected, running = self._hashes.pop(upload, (0, hashlib.sha256()))
        if expected == offset:
            running.update(block)
            self._hashes[upload] = offset + len(block), running
            while len(self._hashes) > _MAX_HASHES:
                self._hashes.popitem(last=False)

    def pop(self, upload: str, size: int) -> str | None:
        """Return the hash of a complete upload and forget it; None if not every byte was added."""
        hashed, running = self._hashes.pop(upload, (0, hashlib.sha256()))
        return running.hexdigest() if hashed == size else None


def _target(tenant: str | None, upload: str, size: int, token: str = "") -> AppendTarget:
    return append_target(home_store(), asset_key(upload), _folder(tenant, upload), size, token)


def _folder(tenant: str | None, upload: str = "") -> str:
    return f"{UPLOADS_PREFIX}{tenant or _NO_TENANT}/" + (f"{upload}/" if upload else "")


def _has_unfinished(tenant: str | None, count: int) -> bool:
    """Return whether a tenant has so many uploads that are neither complete nor expired."""
    expired_before = datetime.now(UTC) - timedelta(seconds=get_settings().api.upload_lifetime_s)
    unfinished = (
        info
        for info in home_store().list(_folder(tenant))
        if info.key.endswith(_UNFINISHED) and info.modified > expired_before
    )
    return next(islice(unfinished, count - 1, None), None) is not None


def _write_record(record: ResumableUpload) -> None:
    name = _COMPLETE if record.is_complete else _UNFINISHED
    data = record.model_dump_json().encode()
    home_store().put_bytes(_folder(record.tenant, record.id) + name, data, "application/json")


def _read_record(key: str) -> ResumableUpload | None:
    try:
        return ResumableUpload.model_validate_json(read_small(home_store(), key))
    except (ObjectMissing, ValidationError):
        return None
