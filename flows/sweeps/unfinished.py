"""Uploads to our own store that broke off: parts in a bucket, files in a folder, that nobody will finish."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final

from flows.sweeps.look import LEFTOVER, MOST, Deed, Look
from tasks.objects import Unfinished
from tasks.storage import home_store

BROKEN_OFF: Final = "Upload broke off"


def broken_off(uploads: Iterable[Unfinished], now: datetime) -> Iterator[Unfinished]:
    """
    Yield the uploads that were begun too long ago to be under way.

    Args:
        uploads: of our store.
        now:     the time.
    """
    return (upload for upload in uploads if now - upload.begun > LEFTOVER)


def give_up_uploads(look: Look) -> Iterator[Deed]:
    """Give them up."""
    store = home_store()
    for upload in list(islice(broken_off(store.unfinished(), look.now), MOST)):
        size = store.size_of(upload)
        if not look.dry_run:
            store.give_up(upload)
        yield Deed(BROKEN_OFF, upload.key, size)
