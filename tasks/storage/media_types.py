"""Media types (Content-Type) of output files by extension, for object stores and HTTP responses."""

from typing import Final

_TYPES: Final = {
    ".mp4": "video/mp4",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".jpg": "image/jpeg",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".srt": "application/x-subrip",
    ".vtt": "text/vtt; charset=utf-8",
    ".c2pa": "application/c2pa",
    ".tsv": "text/tab-separated-values; charset=utf-8",
}


def media_type(name: str) -> str:
    """
    Return the media type of an output file.

    Args:
        name: file name; an unknown extension gives `application/octet-stream`.
    """
    return _TYPES.get("." + name.rpartition(".")[2], "application/octet-stream")
