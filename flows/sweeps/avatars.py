"""Notes of avatars that were prepared long ago and whose artefacts are gone: they only tell of what was."""

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

FORGOTTEN: Final = "Note of an avatar that is gone"
_KEY = re.compile(rf"{re.escape(NOTES)}[^/]+/([0-9a-f]{{64}})\.json")


def forgotten(notes: Iterable[ObjectInfo], kept: Container[str], before: datetime) -> Iterator[ObjectInfo]:
    """
    Yield the notes that are old and tell of nothing that is there.

    Args:
        notes:  objects of our store.
        kept:   keys of the avatars that are there.
        before: younger ones stay: the avatar may be prepared again.
    """
    for note in notes:
        match = _KEY.fullmatch(note.key)
        if match and note.modified < before and match.group(1) not in kept:
            yield note


def remove_notes(look: Look) -> Iterator[Deed]:
    """Remove them."""
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
