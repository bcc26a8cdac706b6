"""
Which avatars were prepared, and for whom: a note each in our own store. Light: the REST shim imports it.

The note is for people; jobs find an avatar by its content and need none.
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
"""Where they lie in our own store."""
_NOBODY = "_"
"""Folder of what was prepared for nobody in particular: no tenant is called so."""


class AvatarNote(BaseModel):
    """A prepared avatar, for people."""

    model_config = ConfigDict(frozen=True)

    avatar: str = Field(description="Its key: the same video, engine and choice of face have the same one.")
    engine: str
    source: str = Field(description="What its file was called.")
    sha256: str = Field(description="Of its file.")
    width: int
    height: int
    fps: str
    frames: int
    with_face: int = Field(description="Frames in which the face was found.")
    is_still: bool
    prepared_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


def remember(note: AvatarNote, tenant: str | None) -> None:
    """
    Write an avatar down, unless it is.

    Args:
        note:   what to write.
        tenant: for whom it was prepared; None for nobody in particular.

    Raises:
        StorageError, DiskFull: it could not be.
    """
    key = _key(note.avatar, tenant)
    if home_store().find(key) is not None:
        return
    home_store().put_bytes(key, note.model_dump_json().encode(), "application/json")


def read(avatar: str, tenant: str | None) -> AvatarNote:
    """
    Look an avatar up.

    Args:
        avatar: its key.
        tenant: who asks; None sees everybody's.

    Raises:
        ObjectMissing: there is none that the tenant may see.
    """
    for key in _keys_of(avatar, tenant):
        note = _read(key)
        if note is not None:
            return note
    raise ObjectMissing(f"There is no avatar {avatar[:12]}….")


def is_noted(avatar: str, tenant: str | None) -> bool:
    """
    Tell whether a note says that an avatar was prepared for a tenant.

    Args:
        avatar: its key.
        tenant: owner of the note; None for work without a tenant.
    """
    return home_store().find(_key(avatar, tenant)) is not None


def listed(tenant: str | None, after: str | None, limit: int) -> tuple[list[AvatarNote], str | None]:
    """
    List avatars in the order of their names in the store.

    Args:
        tenant: whose; None for everybody's.
        after:  where the page before ended, or None.
        limit:  most that are wanted.

    Returns:
        The page, and where the next one begins; None at the end.
    """
    prefix = NOTES if tenant is None else f"{NOTES}{tenant}/"
    keys = (info.key for info in home_store().list(prefix))
    found = list(islice((key for key in keys if after is None or key > after), limit + 1))
    page = found[:limit]
    notes = [note for key in page if (note := _read(key)) is not None]
    return notes, page[-1] if len(found) > limit else None


def is_ready(avatar: str) -> bool:
    """Tell whether it is still in the cache; if not, the next job that needs it prepares it again."""
    return artefacts().knows(KIND, avatar)


def forget(avatar: str, tenant: str | None) -> bool:
    """
    Delete an avatar: its note, and what was prepared once nobody else has a note of it.

    Args:
        avatar: its key.
        tenant: who asks; None deletes everybody's.

    Returns:
        False when a job of this computer works with it: its note stays, to be deleted later.

    Raises:
        ObjectMissing: there is none that the tenant may see.
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
    """Read a note; one that was deleted meanwhile, or is none, is as good as not there."""
    try:
        return AvatarNote.model_validate(json.loads(read_small(home_store(), key)))
    except (ObjectMissing, ValueError):
        return None
