"""Notes of avatars as tests store them, where only a few fields matter."""

from typing import Any

from tasks.catalog.avatar_notes import AvatarNote


def avatar_note(avatar: str, **changes: Any) -> AvatarNote:
    """Return the note of an avatar made from a 640x360 clip; `changes` replace its fields."""
    fields = {
        "engine": "viseme",
        "source": "anna.mp4",
        "sha256": "b" * 64,
        "width": 640,
        "height": 360,
        "fps": "25",
        "frames": 50,
        "with_face": 48,
        "is_still": False,
    }
    return AvatarNote(avatar=avatar, **(fields | changes))
