"""Listing of S3 folders within the grants, for scheduled batches. Imports no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from tasks.errors import ManifestInvalid
from tasks.storage.bucket_grants import locate

MAX_OBJECTS: Final = 200_000


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a bucket that jobs may read."""

    uri: str
    stem: str
    """Key relative to the folder, without the last extension."""
    version: str
    modified: datetime


def list_folder(uri: str) -> Iterator[StoredObject]:
    """
    Yield the objects of a folder and its subfolders, ordered by key. Keys that end in a slash are skipped.

    Args:
        uri: `s3://bucket/folder/`.

    Raises:
        BucketNotAllowed: the grants do not allow reading the folder.
        StorageError:     the storage did not respond.
        ManifestInvalid:  the folder has more than `MAX_OBJECTS` objects.
    """
    location = locate(uri, "read")
    folder = location.key if location.key.endswith("/") else f"{location.key}/"
    infos = location.objects.list(folder)
    for info in islice(infos, MAX_OBJECTS):
        if not info.key.endswith("/"):
            stem, dot, _ = info.key.removeprefix(folder).rpartition(".")
            yield StoredObject(
                info.uri, stem if dot else info.key.removeprefix(folder), info.version, info.modified
            )
    if next(infos, None) is not None:
        raise ManifestInvalid(f"{uri} has more than {MAX_OBJECTS} objects; split it into folders", uri=uri)


def head_object(uri: str) -> StoredObject:
    """
    Return version and modification time of one object.

    Raises:
        ObjectMissing, BucketNotAllowed, StorageError: the object cannot be read.
    """
    location = locate(uri, "read")
    info = location.objects.head(location.key)
    return StoredObject(info.uri, location.key.rpartition("/")[2], info.version, info.modified)
