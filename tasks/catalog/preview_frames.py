"""
Preview frames of running jobs: one small JPEG per job in the system's own store, which workers overwrite.

The store is a folder on one machine or a bucket of a fleet, so the API reads what any worker writes. A job
deletes its frame when it ends; the janitor deletes those of jobs that were killed. Imports no torch: the REST
API uses this module.
"""

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from tasks.errors import ObjectMissing
from tasks.storage.home_store import home_store
from tasks.storage.object_store import ObjectInfo, read_small

PREVIEWS_PREFIX: Final = "previews/"
"""Key prefix of preview frames in the system's own store."""
MAX_BYTES: Final = 200_000
"""Maximum size of a preview frame; a larger one is neither written nor read."""


def write_preview_frame(job: UUID, jpeg: bytes) -> bool:
    """
    Store the newest preview frame of a job; returns False for one of more than `MAX_BYTES`.

    Args:
        job:  id of the job.
        jpeg: content of the picture.

    Raises:
        StorageError, DiskFull: it could not be written.
    """
    if len(jpeg) > MAX_BYTES:
        return False
    home_store().put_bytes(_key(job), jpeg, "image/jpeg")
    return True


def read_preview_frame(job: UUID) -> bytes | None:
    """Return the newest preview frame of a job as JPEG; None if there is none."""
    try:
        return read_small(home_store(), _key(job), MAX_BYTES)
    except ObjectMissing:
        return None


def delete_preview_frame(job: UUID) -> None:
    """Delete the preview frame of a job; a missing one is ignored."""
    home_store().delete(_key(job))


def list_preview_frames() -> Iterator[ObjectInfo]:
    """Yield the stored preview frames of all jobs, for maintenance."""
    yield from home_store().list(PREVIEWS_PREFIX)


def _key(job: UUID) -> str:
    return f"{PREVIEWS_PREFIX}{job}.jpg"
