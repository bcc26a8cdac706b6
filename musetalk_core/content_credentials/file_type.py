"""Detection of a file's media type from its first bytes, for the types that may hold a C2PA manifest."""

from pathlib import Path
from typing import Final

UNKNOWN: Final = "application/octet-stream"
_HEAD_BYTES: Final = 16
_PREFIXES: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_BRANDS: Final = {
    b"M4A ": "audio/mp4",
    b"avif": "image/avif",
    b"heic": "image/heic",
    b"qt  ": "video/quicktime",
}
_RIFF: Final = {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/avi"}


def detect_media_type(path: Path) -> str:
    """
    Return the media type of a file; `application/octet-stream` for types without manifests.

    Args:
        path: the file; its name is not looked at.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], UNKNOWN)
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06:  # MPEG audio frame
        return "audio/mpeg"
    return next((kind for prefix, kind in _PREFIXES if head.startswith(prefix)), UNKNOWN)
