"""
Cache entries of the parts of avatars: the faces of some source frames, encoded by the avatar's engine.

All parts of an avatar share the first half of their keys, so that they are counted and deleted together.
Imports no numeric library: the REST API uses this module.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key

AVATAR_PART_KIND: Final = "avatar-part"
_HALF_KEY_CHARS: Final = 32
_CONCURRENT_DELETIONS: Final = 16
"""Parts that are deleted at once: an hour of video has 1,400, each of which takes several requests in S3."""


def avatar_part_key(avatar: str, part: int, boxes: Sequence[Sequence[int]], earlier_faces: int) -> str:
    """
    Return the cache key of a part: the avatar in its first half, what the engine encodes in the second.

    Boxes are part of the key because two GPUs may find them a pixel apart: an avatar is rendered with parts
    of its own boxes only.

    Args:
        avatar:        cache key of the avatar, which depends on the source and on the engine.
        part:          number of the part.
        boxes:         crop boxes of its frames, xyxy in pixels.
        earlier_faces: see `Engine.encode_faces`.
    """
    faces = content_key(part=part, boxes=[list(box) for box in boxes], earlier_faces=earlier_faces)
    return _parts_prefix(avatar) + faces[:_HALF_KEY_CHARS]


def avatar_parts_bytes(avatar: str) -> int:
    """Return the size in bytes of all parts of an avatar that this machine or the object store has."""
    return sum(artefact_cache().sizes(AVATAR_PART_KIND, _parts_prefix(avatar)).values())


def delete_avatar_parts(avatar: str) -> bool:
    """
    Delete all parts of an avatar on this machine and in the object store.

    Returns:
        False if another process of this machine uses a part: that one is kept for now.
    """
    cache = artefact_cache()
    keys = cache.sizes(AVATAR_PART_KIND, _parts_prefix(avatar))
    with ThreadPoolExecutor(_CONCURRENT_DELETIONS) as pool:
        deleted = list(pool.map(partial(cache.delete, AVATAR_PART_KIND), keys))
    return all(deleted)


def _parts_prefix(avatar: str) -> str:
    return content_key(kind=AVATAR_PART_KIND, avatar=avatar)[:_HALF_KEY_CHARS]
