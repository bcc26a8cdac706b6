"""Listing of S3 folders within the grants, for scheduled batches. Imports no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from tasks.bucket_grants import locate
from tasks.errors import ManifestInvalid

MOST: Final = 200_000


@dataclass(frozen=True, slots=True)
class Listed:
    """An object in a bucket that jobs may read."""

    uri: str
    stem: str
    """Key relative to the folder, without the last extension."""
    version: str
    modified: datetime


def list_folder(uri: str) -> Iterator[Listed]:
    """
    Yield the objects of a folder and its subfolders, ordered by key. Keys that end in a slash are skipped.

    Args:
        uri: `s3://bucket/folder/`.

    Raises:
        BucketNotAllowed: the grants do not allow reading the folder.
        StorageError:     the storage did not respond.
        ManifestInvalid:  the folder has more than `MAX_OBJECTS` objects.
    """
    place = locate(uri, "read")
    folder = place.key if place.key.endswith("/") else f"{place.key}/"
    found = place.objects.list(folder)
    for info in islice(found, MOST):
        if not info.key.endswith("/"):
            stem, dot, _ = info.key.removeprefix(folder).rpartition(".")
            yield Listed(
                info.uri, stem if dot else info.key.removeprefix(folder), info.version, info.modified
            )
    if next(found, None) is not None:
        raise ManifestInvalid(f"{uri} has more than {MOST} objects; split it into folders", uri=uri)


def look_at(uri: str) -> Listed:
    """
    Return version and modification time of one object.

    Raises:
        ObjectMissing, BucketNotAllowed, StorageError: the object cannot be read.
    """
    place = locate(uri, "read")
    info = place.objects.head(place.key)
    return Listed(info.uri, place.key.rpartition("/")[2], info.version, info.modified)
