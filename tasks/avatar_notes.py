"""
Catalog of prepared avatars: one JSON note per avatar and tenant in the system's own store.

Notes are for people; jobs find an avatar by its cache key and need no note. Imports no torch: the REST API
uses this module.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from tasks.artefacts import artefacts
from tasks.errors import ObjectMissing
from tasks.objects import read_small
from tasks.storage import home_store

KIND = "avatar"
NOTES: Final = "avatars/"
"""Key prefix of the notes in the system's own store."""
_NOBODY = "_"
"""Folder of the notes without a tenant. It is not a valid tenant name."""


class AvatarNote(BaseModel):
    """The catalog entry of a prepared avatar."""

    model_config = ConfigDict(frozen=True)

    avatar: str = Field(description="Cache key: the same for the same video, engine and choice of face.")
    engine: str
    source: str = Field(description="Name of the source file.")
    sha256: str = Field(description="SHA-256 of the source file.")
    width: int
    height: int
    fps: str
    frames: int
    with_face: int = Field(description="Frames in which the face was found.")
    is_still: bool
    prepared_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


def remember(note: AvatarNote, tenant: str | None) -> None:
    """
    Store the note of an avatar, unless there is one for this tenant.

    Args:
        note:   the note.
        tenant: owner of the note; None for no tenant.

    Raises:
        StorageError, DiskFull: the note could not be written.
    """
    key = _key(note.avatar, tenant)
    if home_store().find(key) is not None:
        return
    home_store().put_bytes(key, note.model_dump_json().encode(), "application/json")


def read(avatar: str, tenant: str | None) -> AvatarNote:
    """
    Return the note of an avatar.

    Args:
        avatar: cache key of the avatar.
        tenant: the tenant whose notes are searched; None for all notes.

    Raises:
        ObjectMissing: there is no note that the tenant may see.
    """
    for key in _keys_of(avatar, tenant):
        note = _read(key)
        if note is not None:
            return note
    raise ObjectMissing(f"There is no avatar {avatar[:12]}….")


def is_noted(avatar: str, tenant: str | None) -> bool:
    """
    Tell whether a note records that an avatar was prepared for a tenant.

    Args:
        avatar: cache key of the avatar.
        tenant: owner of the note; None for no tenant.
    """
    return home_store().find(_key(avatar, tenant)) is not None


def listed(tenant: str | None, after: str | None, limit: int) -> tuple[list[AvatarNote], str | None]:
    """
    Return one page of avatar notes, ordered by key in the store.

    Args:
        tenant: the tenant whose notes are listed; None for all notes.
        after:  cursor that the previous page returned; None for the first page.
        limit:  maximum number of notes.

    Returns:
        The notes, and the cursor of the next page; None on the last page.
    """
    prefix = NOTES if tenant is None else f"{NOTES}{tenant}/"
    keys = (info.key for info in home_store().list(prefix))
    found = list(islice((key for key in keys if after is None or key > after), limit + 1))
    page = found[:limit]
    notes = [note for key in page if (note := _read(key)) is not None]
    return notes, page[-1] if len(found) > limit else None


def is_ready(avatar: str) -> bool:
    """Tell whether an avatar is still in the cache. If not, the next job that needs it prepares it again."""
    return artefacts().knows(KIND, avatar)


def forget(avatar: str, tenant: str | None) -> bool:
    """
    Delete a tenant's note of an avatar, and the prepared avatar if no other tenant has a note of it.

    Args:
        avatar: cache key of the avatar.
        tenant: owner of the note; None deletes the notes of all tenants.

    Returns:
        False if a job on this machine uses the avatar: its note is kept, so delete it again later.

    Raises:
        ObjectMissing: there is no note that the tenant may see.
    """
    own = _keys_of(avatar, tenant)
    if not own:
        raise ObjectMissing(f"There is no avatar {avatar[:12]}….")
    shared = set(_keys_of(avatar, None)) - set(own)
    if not shared and not artefacts().forget(KIND, avatar):
        return False
    for key in own:
        home_store().delete(key)
    return True


def _keys_of(avatar: str, tenant: str | None) -> list[str]:
    if tenant is not None:
        key = _key(avatar, tenant)
        return [key] if home_store().find(key) is not None else []
    return list(_everybodys(avatar))


def _everybodys(avatar: str) -> Iterator[str]:
    return (info.key for info in home_store().list(NOTES) if info.key.endswith(f"/{avatar}.json"))


def _key(avatar: str, tenant: str | None) -> str:
    return f"{NOTES}{tenant or _NOBODY}/{avatar}.json"


def _read(key: str) -> AvatarNote | None:
    """Return a note, or None if it was deleted in the meantime or is not a valid note."""
    try:
        return AvatarNote.model_validate(json.loads(read_small(home_store(), key)))
    except (ObjectMissing, ValueError):
        return None
