"""What a finished file is, by its name's ending: told to object stores and to browsers alike."""

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
    ".tsv": "text/tab-separated-values; charset=utf-8",
}


def media_type(name: str) -> str:
    """
    Return the media type of a file that a job made.

    Args:
        name: its name; one that no job gives is bytes and nothing more.
    """
    return _TYPES.get("." + name.rpartition(".")[2], "application/octet-stream")
