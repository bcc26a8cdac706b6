"""Maintenance task: delete notes of avatars that are no longer cached and past their retention."""

import re
from collections.abc import Container, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final

from flows.maintenance.context import MAX_ITEMS_PER_RUN, SweepAction, SweepContext
from tasks.cache.artefacts import artefact_cache
from tasks.cache.remote_mirror import list_complete_keys
from tasks.catalog.avatar_notes import AVATAR_KIND, NOTES_PREFIX, delete_note
from tasks.storage.home_store import home_store, store_is_remote
from tasks.storage.object_store import ObjectInfo

STALE_NOTE: Final = "Avatar note without an avatar"
"""Kind of action: a note was deleted."""
_NOTE_KEY = re.compile(rf"{re.escape(NOTES_PREFIX)}[^/]+/([0-9a-f]{{64}})\.json")


def stale_notes(
    notes: Iterable[ObjectInfo], stored_avatars: Container[str], cutoff: datetime
) -> Iterator[ObjectInfo]:
    """
    Yield the notes that are old and whose avatar is no longer stored.

    Args:
        notes:          objects of the system's own store.
        stored_avatars: keys of the stored avatars.
        cutoff:         notes modified later are kept, because the avatar may be prepared again.
    """
    for note in notes:
        match = _NOTE_KEY.fullmatch(note.key)
        if match and note.modified < cutoff and match.group(1) not in stored_avatars:
            yield note


def delete_stale_notes(context: SweepContext) -> Iterator[SweepAction]:
    """Delete the notes and yield one action per note."""
    cutoff = context.cutoff(context.retention.results_days)
    if cutoff is None:
        return
    store = home_store()
    stored_avatars = artefact_cache().local_keys(AVATAR_KIND)
    if store_is_remote():
        stored_avatars |= list_complete_keys(store, AVATAR_KIND)
    for note in list(
        islice(stale_notes(store.list(NOTES_PREFIX), stored_avatars, cutoff), MAX_ITEMS_PER_RUN)
    ):
        if not context.dry_run:
            delete_note(note.key)
        yield SweepAction(STALE_NOTE, note.key, note.size)
