"""
Maintenance task: abort uploads to the system's own store that were interrupted.

They are multipart uploads in a bucket, or partial files in a folder.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final

from flows.sweeps.look import LEFTOVER, MOST, Deed, Look
from tasks.objects import Unfinished
from tasks.storage import home_store

BROKEN_OFF: Final = "Interrupted upload"
"""Kind of action: an upload was aborted."""


def broken_off(uploads: Iterable[Unfinished], now: datetime) -> Iterator[Unfinished]:
    """
    Yield the uploads that started too long ago to be still in progress.

    Args:
        uploads: unfinished uploads of the system's own store.
        now:     current time.
    """
    return (upload for upload in uploads if now - upload.begun > LEFTOVER)


def give_up_uploads(look: Look) -> Iterator[Deed]:
    """Abort the uploads and yield one action per upload."""
    store = home_store()
    for upload in list(islice(broken_off(store.unfinished(), look.now), MOST)):
        size = store.size_of(upload)
        if not look.dry_run:
            store.give_up(upload)
        yield Deed(BROKEN_OFF, upload.key, size)
