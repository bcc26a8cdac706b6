"""
Files that clients upload to us: `asset://ID`, kept in our own store. Light: the REST shim imports it.

An asset belongs to the tenant that uploaded it; its note holds the tenant's name. An asset without an owner
was uploaded with a key without a tenant, or by a version that recorded none. Other tenants get the same error
as for an asset that does not exist.
"""

import json
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from musetalk_core.errors import InputError, MediaTooLarge, MediaUnreadable
from tasks.errors import DirectNotOffered, ObjectMissing
from tasks.file_names import plain_name
from tasks.objects import read_small
from tasks.partial import Part
from tasks.settings import get_settings
from tasks.storage import S3Objects, home_store
from tasks.tenancy import current_tenant, may_use

ASSETS: Final = "assets/"
"""Where they lie in our own store."""

_TENANT: Final = "tenant"
"""Field of an asset's note: its owner."""
_ONE_PUT_BYTES = 5 << 30
"""What S3 takes in one PUT."""
_PUT_LIFE_S = 3600
"""How long the link to send an asset to works."""


def save_asset(chunks: Iterable[bytes], name: str, max_bytes: int | None = None) -> str:
    """
    Store an upload as it streams in; it belongs to the current tenant.

    Args:
        chunks:    its bytes, in order.
        name:      what the client calls it; kept for people, never used as a path.
        max_bytes: limit; None for the one of the settings.

    Returns:
        The id, for `asset://ID`.

    Raises:
        MediaUnreadable: there are no bytes.
        MediaTooLarge: there are too many.
        DiskFull, StorageError: it could not be kept.
    """
    asset = uuid4().hex
    limit = get_settings().api.max_upload_bytes if max_bytes is None else max_bytes
    with _scratch(asset) as path, Part(path, limit) as part:
        for chunk in chunks:
            part.write(chunk)
        if not part.size:
            raise MediaUnreadable("the uploaded file is empty")
        home_store().upload(path, asset_key(asset))
        about = {"name": plain_name(name), "size": part.size, "sha256": part.sha256()}
        _note(asset, about)
    return asset


@dataclass(frozen=True, slots=True)
class Expected:
    """An asset whose bytes its client sends to the store itself."""

    asset: str
    url: str
    seconds: int


def expect_asset(name: str, size: int, content_type: str) -> Expected:
    """
    Make a place for an upload that goes to the object store without passing through us.

    It belongs to the current tenant.

    Args:
        name:         what the client calls it.
        size:         bytes; the link takes exactly so many.
        content_type: what the client will say it is.

    Raises:
        MediaTooLarge:   it is over the limit of the settings, or of what one PUT may carry.
        DirectNotOffered: our store is a folder.
        StorageError:    the store does not answer.
    """
    store, limit = home_store(), min(get_settings().api.max_upload_bytes, _ONE_PUT_BYTES)
    if size > limit:
        raise MediaTooLarge(f"The file is larger than the {limit / 1e6:.0f} MB allowed here.", limit=limit)
    if not isinstance(store, S3Objects):
        raise DirectNotOffered("The store here takes no direct uploads; send the file to POST /v1/assets.")
    asset = uuid4().hex
    url = store.presigned_put(asset_key(asset), size, content_type, _PUT_LIFE_S)
    _note(asset, {"name": plain_name(name), "size": size, "sha256": None})
    return Expected(asset, url, _PUT_LIFE_S)


def asset_name(asset: str) -> str:
    """
    Return what the client called an asset.

    Raises:
        ObjectMissing: there is no such asset, or it belongs to another tenant.
    """
    try:
        about: Any = json.loads(read_small(home_store(), _note_key(asset)))
        name, owner = str(about["name"]), about.get(_TENANT)
    except (ObjectMissing, ValueError, KeyError, TypeError, AttributeError) as error:
        raise asset_missing(asset) from error
    if not may_use(owner):
        raise asset_missing(asset)
    return name


def asset_missing(asset: str) -> ObjectMissing:
    """Return the error for an asset that does not exist or that the tenant may not use."""
    return ObjectMissing(f"There is no asset {asset[:80]}; it may have been deleted.")


def delete_asset(asset: str) -> None:
    """Remove an asset; it may be gone already."""
    for key in (_note_key(asset), asset_key(asset)):
        home_store().delete(key)


def asset_key(asset: str) -> str:
    """Return the key of an asset's bytes in our own store; raises InputError for what is no id."""
    if not asset.replace("-", "").replace("_", "").isalnum() or not asset.isascii() or len(asset) > 64:
        raise InputError("an asset:// reference is asset://ID with the id that the upload answered")
    return f"{ASSETS}{asset}/data"


def _note(asset: str, about: dict[str, Any]) -> None:
    tenant = current_tenant()
    owner = {_TENANT: tenant} if tenant is not None else {}
    home_store().put_bytes(_note_key(asset), json.dumps(about | owner).encode(), "application/json")


def _note_key(asset: str) -> str:
    return asset_key(asset).removesuffix("data") + "asset.json"


@contextmanager
def _scratch(asset: str) -> Generator[Path]:
    path = get_settings().cache_folder / "parts" / f"upload-{asset}.part"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
