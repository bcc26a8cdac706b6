"""Maintenance task: delete notes of avatars that are no longer cached and past their retention."""

import re
from collections.abc import Container, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final

from flows.sweeps.look import MOST, Deed, Look
from tasks.artefacts import artefacts
from tasks.avatar_notes import KIND, NOTES
from tasks.mirror import complete_keys
from tasks.objects import ObjectInfo
from tasks.storage import home_store, store_is_remote

FORGOTTEN: Final = "Avatar note without an avatar"
"""Kind of action: a note was deleted."""
_KEY = re.compile(rf"{re.escape(NOTES)}[^/]+/([0-9a-f]{{64}})\.json")


def forgotten(notes: Iterable[ObjectInfo], kept: Container[str], before: datetime) -> Iterator[ObjectInfo]:
    """
    Yield the notes that are old and whose avatar is no longer stored.

    Args:
        notes:          objects of the system's own store.
        stored_avatars: keys of the stored avatars.
        cutoff:         notes modified later are kept, because the avatar may be prepared again.
    """
    for note in notes:
        match = _KEY.fullmatch(note.key)
        if match and note.modified < before and match.group(1) not in kept:
            yield note


def remove_notes(look: Look) -> Iterator[Deed]:
    """Delete the notes and yield one action per note."""
    before = look.before(look.retention.results_days)
    if before is None:
        return
    store = home_store()
    kept = artefacts().keys_here(KIND)
    if store_is_remote():
        kept |= complete_keys(store, KIND)
    for note in list(islice(forgotten(store.list(NOTES), kept, before), MOST)):
        if not look.dry_run:
            store.delete(note.key)
        yield Deed(FORGOTTEN, note.key, note.size)
