"""Detect truncated files early, from the lengths in their headers and sample tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from musetalk_core.errors import MediaUnreadable
from musetalk_core.media.source.sniff import FileType

if TYPE_CHECKING:
    from av.stream import Stream
    from av.video.stream import VideoStream

_HEAD_BYTES = 4096
_EBML_ID, _SEGMENT_ID = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_RIFF_UNKNOWN = 0x7FFF0000
"""RIFF sizes from here on mean unknown: writers that cannot seek back leave them."""
_RIFF_SLACK = 4096


def check_complete_file(path: Path, file_type: FileType) -> None:
    """
    Compare the length in a Matroska or WAV header with the size of the file.

    Raises:
        MediaUnreadable: bytes are missing; the message names both counts.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    promised = None
    if file_type.demuxer == "matroska":
        promised = _matroska_end(head)
    elif head.startswith(b"RIFF"):
        riff = 8 + int.from_bytes(head[4:8], "little")
        promised = riff - _RIFF_SLACK if riff < _RIFF_UNKNOWN else None
    if promised is not None and promised > size:
        raise _truncation_error(file_type, "bytes", promised, size)


def check_complete_index(path: Path, stream: Stream, file_type: FileType) -> None:
    """
    Compare an mp4's sample table with the size of the file.

    Raises:
        MediaUnreadable: samples of the table are beyond the end of the file; the message names both counts.
    """
    if file_type.demuxer != "mov":
        return
    size, entries = path.stat().st_size, stream.index_entries
    present = sum(entry.pos + entry.size <= size for entry in entries)
    if present < len(entries):
        raise _truncation_error(
            file_type, "frames" if stream.type == "video" else "sound packets", len(entries), present
        )


def promised_frames(stream: VideoStream) -> int | None:
    """Return the number of shown frames that a container declares; None if it declares none."""
    entries = stream.index_entries
    if stream.frames and len(entries) >= stream.frames:
        return sum(not entry.is_discard for entry in entries)
    return stream.frames or None


def _truncation_error(file_type: FileType, unit: str, promised: int, present: int) -> MediaUnreadable:
    return MediaUnreadable(
        f"The {file_type.name} file is cut off: it promises {promised} {unit} but holds only {present}; "
        "upload it again.",
        promised=promised,
        present=present,
    )


def _matroska_end(head: bytes) -> int | None:
    """Return the end of the Matroska segment in bytes; None if unknown, as in live recordings."""
    header_end = _element_end(head, 0, _EBML_ID)
    return None if header_end is None else _element_end(head, header_end, _SEGMENT_ID)


def _element_end(head: bytes, start: int, element_id: bytes) -> int | None:
    """
    Return the end of an EBML element in bytes; None if it is another element or its length is unknown.

    The number of leading zero bits of the length is the number of further bytes. All data bits set = unknown
    length.
    """
    first = start + len(element_id)
    if head[start:first] != element_id or first >= len(head) or head[first] == 0:
        return None
    width = 9 - head[first].bit_length()
    raw = int.from_bytes(head[first : first + width], "big")
    length = raw & ((1 << 7 * width) - 1)
    return None if length == (1 << 7 * width) - 1 else first + width + length
