"""
Catalog of prepared avatars: a JSON note and a small picture per avatar and tenant in the system's own store.

Notes are for people; jobs find an avatar by its cache key and need no note. Imports no torch: the REST API
uses this module.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from tasks.cache.artefacts import artefact_cache
from tasks.catalog.avatar_parts import avatar_parts_bytes, delete_avatar_parts
from tasks.errors import ObjectMissing
from tasks.storage.home_store import home_store
from tasks.storage.object_store import read_small

AVATAR_KIND = "avatar"
NOTES_PREFIX: Final = "avatars/"
"""Key prefix of the notes in the system's own store."""
PICTURES_PREFIX: Final = "avatar-pictures/"
"""Key prefix of the pictures in the system's own store."""
MAX_PICTURE_BYTES: Final = 100_000
_CONCURRENT_READS: Final = 16
"""Notes of a page that are read at once; in S3, each takes up to two requests."""
_NO_TENANT_FOLDER = "_"
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
    bytes: int | None = Field(
        default=None,
        description="Size in the cache with its encoded faces; null for avatars of earlier versions.",
    )
    in_parts: bool = Field(
        default=False,
        description="Whether faces are encoded when a job needs them, so that longer speech adds to `bytes`.",
    )
    has_picture: bool = Field(
        default=False, description="Whether GET /v1/avatars/{avatar}/picture returns a picture of the face."
    )
    prepared_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


def save_note(note: AvatarNote, tenant: str | None, picture: bytes | None = None) -> None:
    """
    Store the note of an avatar, unless there is one for this tenant that says as much.

    Args:
        note:    the note.
        tenant:  owner of the note; None for no tenant.
        picture: small JPEG of the face; None for none.

    Raises:
        StorageError, DiskFull: the note could not be written.
    """
    key = _note_key(note.avatar, tenant)
    known = _load_note(key)
    if known is not None and (known.has_picture or picture is None):
        return
    if picture is not None:
        home_store().put_bytes(_picture_key(note.avatar, tenant), picture, "image/jpeg")
    changes = {"has_picture": picture is not None} | ({"prepared_at": known.prepared_at} if known else {})
    home_store().put_bytes(
        key, note.model_copy(update=changes).model_dump_json().encode(), "application/json"
    )


def read_note(avatar: str, tenant: str | None) -> AvatarNote:
    """
    Return the note of an avatar.

    Args:
        avatar: cache key of the avatar.
        tenant: the tenant whose notes are searched; None for all notes.

    Raises:
        ObjectMissing: there is no note that the tenant may see.
    """
    for key in _note_keys(avatar, tenant):
        note = _load_note(key)
        if note is not None:
            return _with_parts(note)
    raise ObjectMissing(f"There is no avatar {avatar[:12]}….")


def _load_listed(key: str) -> AvatarNote | None:
    note = _load_note(key)
    return None if note is None else _with_parts(note)


def _with_parts(note: AvatarNote) -> AvatarNote:
    """Return a note for readers: stored notes have the size of the avatar without its parts."""
    if not note.in_parts or note.bytes is None:
        return note
    return note.model_copy(update={"bytes": note.bytes + avatar_parts_bytes(note.avatar)})


def needs_picture(avatar: str, tenant: str | None) -> bool:
    """Return whether an avatar has no note for a tenant, or one without a picture."""
    known = _load_note(_note_key(avatar, tenant))
    return known is None or not known.has_picture


def read_picture(avatar: str, tenant: str | None) -> bytes:
    """
    Return the picture of an avatar as JPEG.

    Args:
        avatar: cache key of the avatar.
        tenant: the tenant whose avatars are searched; None for all.

    Raises:
        ObjectMissing: there is none that the tenant may see.
    """
    for key in _note_keys(avatar, tenant):
        try:
            return read_small(home_store(), _picture_key_of(key), MAX_PICTURE_BYTES)
        except ObjectMissing:
            continue
    raise ObjectMissing(f"There is no picture of an avatar {avatar[:12]}….")


def has_note(avatar: str, tenant: str | None) -> bool:
    """
    Return whether a note records that an avatar was prepared for a tenant.

    Args:
        avatar: cache key of the avatar.
        tenant: owner of the note; None for no tenant.
    """
    return home_store().find(_note_key(avatar, tenant)) is not None


def list_notes(tenant: str | None, after: str | None, limit: int) -> tuple[list[AvatarNote], str | None]:
    """
    Return one page of avatar notes, ordered by key in the store.

    Args:
        tenant: the tenant whose notes are listed; None for all notes.
        after:  cursor that the previous page returned; None for the first page.
        limit:  maximum number of notes.

    Returns:
        The notes, and the cursor of the next page; None on the last page.
    """
    prefix = NOTES_PREFIX if tenant is None else f"{NOTES_PREFIX}{tenant}/"
    keys_and_next = [info.key for info in islice(home_store().list(prefix, after), limit + 1)]
    page = keys_and_next[:limit]
    with ThreadPoolExecutor(_CONCURRENT_READS) as pool:
        notes = [note for note in pool.map(_load_listed, page) if note is not None]
    return notes, page[-1] if len(keys_and_next) > limit else None


def is_cached(avatar: str) -> bool:
    """Return whether an avatar is in the cache. If not, the next job that uses it prepares it again."""
    return artefact_cache().exists(AVATAR_KIND, avatar)


def delete_avatar(avatar: str, tenant: str | None) -> bool:
    """
    Delete a tenant's note of an avatar, and the avatar with its parts if no other tenant has a note of it.

    Args:
        avatar: cache key of the avatar.
        tenant: owner of the note; None deletes the notes of all tenants.

    Returns:
        False if a job on this machine uses the avatar: its note is kept, so delete it again later.

    Raises:
        ObjectMissing: there is no note that the tenant may see.
    """
    own_keys = _note_keys(avatar, tenant)
    if not own_keys:
        raise ObjectMissing(f"There is no avatar {avatar[:12]}….")
    other_keys = set(_note_keys(avatar, None)) - set(own_keys)
    if not other_keys and not _delete_files(avatar):
        return False
    for key in own_keys:
        delete_note(key)
    return True


def _delete_files(avatar: str) -> bool:
    """Delete an avatar, then its parts; notes are deleted last, so that a deletion can be repeated."""
    return artefact_cache().delete(AVATAR_KIND, avatar) and delete_avatar_parts(avatar)


def delete_note(key: str) -> None:
    """Delete a note, by its key in the store, and its picture."""
    home_store().delete(_picture_key_of(key))
    home_store().delete(key)


def _note_keys(avatar: str, tenant: str | None) -> list[str]:
    if tenant is not None:
        key = _note_key(avatar, tenant)
        return [key] if home_store().find(key) is not None else []
    return list(_note_keys_of_all_tenants(avatar))


def _note_keys_of_all_tenants(avatar: str) -> Iterator[str]:
    return (info.key for info in home_store().list(NOTES_PREFIX) if info.key.endswith(f"/{avatar}.json"))


def _note_key(avatar: str, tenant: str | None) -> str:
    return f"{NOTES_PREFIX}{tenant or _NO_TENANT_FOLDER}/{avatar}.json"


def _picture_key(avatar: str, tenant: str | None) -> str:
    return _picture_key_of(_note_key(avatar, tenant))


def _picture_key_of(note_key: str) -> str:
    return f"{PICTURES_PREFIX}{note_key.removeprefix(NOTES_PREFIX).removesuffix('.json')}.jpg"


def _load_note(key: str) -> AvatarNote | None:
    """Return a note, or None if it was deleted in the meantime or is not a valid note."""
    try:
        return AvatarNote.model_validate(json.loads(read_small(home_store(), key)))
    except (ObjectMissing, ValueError):
        return None
