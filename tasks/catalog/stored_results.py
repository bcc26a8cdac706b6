"""
Access to outputs of jobs: exactly the object that a result pinned, or an error, never other bytes.

Imports no torch: the REST API uses this module.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from tasks.catalog.assets import asset_key
from tasks.errors import ObjectMissing, ResultReplaced
from tasks.refs import ObjectRef
from tasks.storage.folder_store import FolderStore
from tasks.storage.home_store import home_store
from tasks.storage.object_store import BLOCK_BYTES, ObjectInfo, ObjectStore
from tasks.storage.s3_store import S3Store

OUTPUTS_PREFIX: Final = "outputs/"
"""Prefix of results in the system's own store; each job has a folder below it."""
CONTENT_KEY_FIELD, SHA256_FIELD, JOB_FIELD = "musetalk-key", "musetalk-sha256", "musetalk-job"
"""Metadata of an output: identity of the content, hash of its bytes, and the job that stored it."""


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """A stored output that was verified to be the pinned one."""

    objects: ObjectStore
    key: str
    info: ObjectInfo

    @property
    def path(self) -> Path | None:
        """Return the local file of the output; None for an object in a bucket."""
        return self.objects.path(self.key) if isinstance(self.objects, FolderStore) else None


def find_pinned(ref: ObjectRef) -> StoredOutput:
    """
    Find the object that a result pinned.

    In a versioned bucket that version is read, whatever was stored later. Elsewhere the object must have the
    same version, or the same bytes if it was copied or restored, or if its store has no versions.

    Raises:
        ObjectMissing:  the object was deleted, or its store is no longer configured.
        ResultReplaced: another object has its key.
        StorageError:   the store did not respond.
    """
    objects, key = _locate(ref.uri)
    try:
        info = objects.head(key, ref.version)
    except ObjectMissing:
        newest = objects.find(key)
        if newest is None:
            raise
        info = newest
    is_same = bool(ref.version) and info.version == ref.version
    if not is_same and not _is_copy(objects, key, info, ref):
        raise _replaced_error(ref, info)
    return StoredOutput(objects, key, info)


def find_asset(asset: str) -> StoredOutput:
    """
    Find the bytes of an upload. The caller has checked that the tenant may use it.

    Args:
        asset: id of the asset.

    Raises:
        ObjectMissing: the bytes were deleted, or a direct upload has not ended.
        InputError:    the id is malformed.
        StorageError:  the store did not respond.
    """
    store, key = home_store(), asset_key(asset)
    return StoredOutput(store, key, store.head(key))


def home_store_key(uri: str) -> str | None:
    """
    Return the key of an object in the system's own store from its URI; None for any other URI.

    Only for URIs in stored results, never for text from a job.
    """
    store: Any = home_store()
    return store.key_of(uri) or None


def _locate(uri: str) -> tuple[ObjectStore, str]:
    key = home_store_key(uri)
    if key is not None:
        return home_store(), key
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not key:
        raise ObjectMissing("The file is in a store that is no longer configured.")
    return S3Store(bucket), key


def _is_copy(objects: ObjectStore, key: str, info: ObjectInfo, ref: ObjectRef) -> bool:
    """Return whether an object of another version has the pinned bytes."""
    if info.size != ref.size:
        return False
    if ref.sha256 is None:  # written by a version that named output folders by content
        content_key = info.metadata.get(CONTENT_KEY_FIELD, "")
        return bool(content_key) and key.startswith(f"{OUTPUTS_PREFIX}{content_key[:32]}/")
    if isinstance(objects, FolderStore):
        return _sha256(objects.path(key), info.version) == ref.sha256
    return info.metadata.get(SHA256_FIELD) == ref.sha256


@lru_cache(maxsize=1024)
def _sha256(path: Path, version: str) -> str:
    """Hash a file; `version` is part of the cache key."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _replaced_error(ref: ObjectRef, info: ObjectInfo) -> ResultReplaced:
    name = info.key.rsplit("/", 1)[-1]
    job = info.metadata.get(JOB_FIELD)
    replaced_by = f"job {job}" if job else "an object without a known job"
    details = {"replaced_by": job} if job else {}
    return ResultReplaced(
        f"{name} is no longer this job's result: it was replaced by {replaced_by}. To restore the result,"
        " run the job again with another name or without overwrite.",
        **details,
    )
