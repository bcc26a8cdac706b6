"""What lies in a folder of a bucket: asked for by scheduled batches. Light."""

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
    """An object."""

    uri: str
    stem: str
    """Its key below the folder, without the last extension."""
    version: str
    modified: datetime


def list_folder(uri: str) -> Iterator[Listed]:
    """
    Yield the objects of a folder and of those in it, by key; those that stand for folders are none.

    Args:
        uri: `s3://bucket/folder/`.

    Raises:
        BucketNotAllowed: jobs may not read there.
        StorageError:     the storage did not answer.
        ManifestInvalid:  there are more than `MOST`.
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
    Look at one object.

    Raises:
        ObjectMissing, BucketNotAllowed, StorageError: it cannot be had.
    """
    place = locate(uri, "read")
    info = place.objects.head(place.key)
    return Listed(info.uri, place.key.rpartition("/")[2], info.version, info.modified)
