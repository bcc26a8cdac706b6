"""
Uploaded files (`asset://ID`) in the system's own store. Imports no torch: the REST API uses this module.

An asset belongs to the tenant that uploaded it; its note holds the tenant's name. An asset without an owner
was uploaded with an API key without a tenant, or by a version that recorded none. Other tenants get the same
error as for an asset that does not exist.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from musetalk_core.errors import InputError, MediaTooLarge, MediaUnreadable, RenderError
from tasks.errors import DirectUploadUnavailable, ObjectMissing
from tasks.file_names import plain_name
from tasks.run.tenancy import current_tenant, may_use
from tasks.settings import get_settings
from tasks.storage.home_store import home_store
from tasks.storage.object_store import read_small
from tasks.storage.resumable_file import PartialFile
from tasks.storage.s3_store import S3Store

ASSETS_PREFIX: Final = "assets/"
"""Key prefix of assets in the system's own store."""

_TENANT_FIELD: Final = "tenant"
"""Field of an asset's note that holds its owner."""
_MAX_PUT_BYTES = 5 << 30
"""Limit of S3 for one PUT request."""
_UPLOAD_URL_LIFETIME_S = 3600
"""Lifetime of the URL for a direct upload."""


def save_asset(chunks: Iterable[bytes], name: str, max_bytes: int | None = None) -> str:
    """
    Store a streamed upload as an asset of the current tenant.

    Args:
        chunks:    the bytes of the file, in order.
        name:      the client's file name; shown to people, never used as a path.
        max_bytes: size limit; None for the limit of the settings.

    Returns:
        The asset's id, for `asset://ID`.

    Raises:
        MediaUnreadable: the upload is empty.
        MediaTooLarge: the upload exceeds the limit.
        DiskFull, StorageError: the upload could not be stored.
    """
    writer = AssetWriter(max_bytes)
    try:
        for chunk in chunks:
            writer.write(chunk)
        return writer.finish(name)
    finally:
        writer.close()


class AssetWriter:
    """An upload that arrives block by block. The methods wait for the disk and the store only."""

    def __init__(self, max_bytes: int | None = None) -> None:
        """
        Open a temporary file; `close` removes it.

        Args:
            max_bytes: size limit; None for the limit of the settings.
        """
        self._asset = uuid4().hex
        limit = get_settings().api.max_upload_bytes if max_bytes is None else max_bytes
        self._part = PartialFile(get_settings().cache_folder / "parts" / f"upload-{self._asset}.part", limit)

    def write(self, block: bytes) -> None:
        """Append a block; raises MediaTooLarge above the limit, and DiskFull."""
        self._part.write(block)

    def finish(self, name: str) -> str:
        """Store the file as an asset of the current tenant and return its id; see `save_asset`."""
        if not self._part.size:
            raise MediaUnreadable("the uploaded file is empty")
        home_store().upload(self._part.path, asset_key(self._asset))
        note = {"name": plain_name(name), "size": self._part.size, "sha256": self._part.sha256()}
        _write_note(self._asset, note)
        return self._asset

    def close(self) -> None:
        """Remove the temporary file."""
        self._part.__exit__(None, None, None)
        self._part.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class DirectUpload:
    """An asset that its client uploads directly to the object store, by PUT to `url` within `seconds`."""

    asset: str
    url: str
    seconds: int


def create_direct_upload(name: str, size: int, content_type: str) -> DirectUpload:
    """
    Create an asset of the current tenant and return a presigned URL for its upload.

    Args:
        name:         the client's file name.
        size:         size in bytes; the URL accepts exactly this size.
        content_type: the Content-Type that the client will send.

    Raises:
        MediaTooLarge: the size exceeds the limit of the settings, or of one PUT request.
        DirectUploadUnavailable: the system's own store is a folder.
        StorageError: the store does not respond.
    """
    store, limit = home_store(), min(get_settings().api.max_upload_bytes, _MAX_PUT_BYTES)
    if size > limit:
        raise MediaTooLarge(f"The file is larger than the {limit / 1e6:.0f} MB allowed here.", limit=limit)
    if not isinstance(store, S3Store):
        raise DirectUploadUnavailable(
            "This store accepts no direct uploads. Send the file to POST /v1/assets."
        )
    asset = uuid4().hex
    url = store.presigned_put(asset_key(asset), size, content_type, _UPLOAD_URL_LIFETIME_S)
    _write_note(asset, {"name": plain_name(name), "size": size, "sha256": None})
    return DirectUpload(asset, url, _UPLOAD_URL_LIFETIME_S)


def describe_asset(asset: str, name: str, size: int, sha256: str | None) -> None:
    """
    Write the note of an asset of the current tenant whose bytes are stored.

    Args:
        asset:  id of the asset.
        name:   the client's file name.
        size:   size in bytes.
        sha256: SHA-256 of the bytes; None if it is not known.
    """
    _write_note(asset, {"name": plain_name(name), "size": size, "sha256": sha256})


def asset_is_described(asset: str) -> bool:
    """Return whether an asset has a note, which is written after its bytes."""
    return home_store().find(_note_key(asset)) is not None


def asset_name(asset: str) -> str:
    """
    Return the client's file name of an asset.

    Raises:
        ObjectMissing: the asset does not exist, or it belongs to another tenant.
    """
    try:
        note: Any = json.loads(read_small(home_store(), _note_key(asset)))
        name, owner = str(note["name"]), note.get(_TENANT_FIELD)
    except (ObjectMissing, ValueError, KeyError, TypeError, AttributeError) as error:
        raise asset_missing_error(asset) from error
    if not may_use(owner):
        raise asset_missing_error(asset)
    return name


def find_asset_name(asset: str) -> str | None:
    """Return an asset's file name for display; None if it cannot be read or used, for whatever reason."""
    try:
        return asset_name(asset)
    except RenderError:
        return None


def asset_missing_error(asset: str) -> ObjectMissing:
    """Return the error for an asset that does not exist or that the current tenant may not use."""
    return ObjectMissing(f"There is no asset {asset[:80]}; it may have been deleted.")


def delete_asset(asset: str) -> None:
    """Delete an asset and its note. Missing objects are ignored."""
    for key in (_note_key(asset), asset_key(asset)):
        home_store().delete(key)


def asset_key(asset: str) -> str:
    """Return the key of an asset's bytes in the system's own store; raise InputError for a malformed id."""
    if not asset.replace("-", "").replace("_", "").isalnum() or not asset.isascii() or len(asset) > 64:
        raise InputError("an asset:// reference is asset://ID with the id that the upload returned")
    return f"{ASSETS_PREFIX}{asset}/data"


def _write_note(asset: str, note: dict[str, Any]) -> None:
    tenant = current_tenant()
    owner = {_TENANT_FIELD: tenant} if tenant is not None else {}
    home_store().put_bytes(_note_key(asset), json.dumps(note | owner).encode(), "application/json")


def _note_key(asset: str) -> str:
    return asset_key(asset).removesuffix("data") + "asset.json"
