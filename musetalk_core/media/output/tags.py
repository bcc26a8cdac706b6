"""Container tags that players show: the file is synthetic media."""

from dataclasses import dataclass
from typing import Final

SYNTHETIC_PREFIX: Final = "Synthetic media: "
"""Start of the comment of every synthetic file, by which later steps recognize it."""
_MAX_COMMENT_CHARS: Final = 500


@dataclass(frozen=True, slots=True)
class MediaTags:
    """Title and comment of a file, as MP4, MP3, FLAC and Ogg store them."""

    title: str
    comment: str

    def to_metadata(self) -> dict[str, str]:
        """Return the tags by FFmpeg's names."""
        return {"title": self.title, "comment": self.comment}


def metadata_options(tags: MediaTags | None) -> dict[str, str]:
    """Return the tags as output options of ffmpeg-python."""
    if tags is None:
        return {}
    return {f"metadata:g:{n}": f"{name}={text}" for n, (name, text) in enumerate(tags.to_metadata().items())}


def synthetic_video_tags(engine: str) -> MediaTags:
    """Return the tags of a video whose lips an engine rendered."""
    return MediaTags(
        "Synthetic video", f"{SYNTHETIC_PREFIX}the lips were rendered by software (musetalk-flows, {engine})."
    )


def synthetic_speech_tags(engine: str) -> MediaTags:
    """Return the tags of speech that an engine synthesized."""
    return MediaTags(
        "Synthetic speech", f"{SYNTHETIC_PREFIX}the voice was made by software (musetalk-flows, {engine})."
    )


def inherited_tags(metadata: dict[str, str]) -> MediaTags | None:
    """
    Return the tags of a file that says that it is synthetic, for a file that is made from it; else None.

    Args:
        metadata: tags of the file by FFmpeg's names. Not trusted: long and multi-line comments are dropped.
    """
    comment = metadata.get("comment", "")
    if (
        not comment.startswith(SYNTHETIC_PREFIX)
        or len(comment) > _MAX_COMMENT_CHARS
        or not comment.isprintable()
    ):
        return None
    return MediaTags("Synthetic video", comment)
