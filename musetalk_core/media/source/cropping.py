"""
Read the cropping that a container states: PixelCrop of Matroska and the clean aperture (`clap`) of MP4.

FFmpeg reads both, but its Python binding does not expose them. The tables are short; frames are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from musetalk_core.errors import MediaUnreadable

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

Span = tuple[int, int]
"""Start and end of the contents of an element or a box in the file, in bytes."""

_SEGMENT, _TRACKS, _TRACK, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
_TRACK_TYPE: Final = 0x83
_CROP_TOP, _CROP_BOTTOM, _CROP_LEFT, _CROP_RIGHT = 0x54BB, 0x54AA, 0x54CC, 0x54DD
_IS_VIDEO: Final = 1
_MAX_ELEMENTS: Final = 100_000
"""Elements of a Matroska segment that are passed in search of its tracks: more than a day of clusters."""
_VISUAL_ENTRY_BYTES: Final = 78
"""Fields of a video sample entry of MP4 before its boxes."""
_MAX_SIDE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Crop:
    """Pixels to remove at each side of the stored picture, before rotation and squaring of pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def size(self, width: int, height: int) -> tuple[int, int]:
        """
        Return width and height of what remains of a stored picture.

        Raises:
            MediaUnreadable: nothing remains.
        """
        size = width - self.left - self.right, height - self.top - self.bottom
        if min(size) < 1:
            raise MediaUnreadable(
                f"The file crops its picture of {width} x {height} pixels to nothing; export it again."
            )
        return size


def read_crop(path: Path, container: InputContainer, stream: VideoStream) -> Crop | None:
    """
    Return the cropping of a video stream as the container states it; None if there is none.

    Args:
        path:      the open file.
        container: of the file, opened with the demuxer of its type.
        stream:    one of its video streams.
    """
    name = container.format.name
    with path.open("rb") as file:
        if name.startswith("matroska"):
            crop = _matroska_crop(file, list(container.streams.video).index(stream))
        elif name.startswith("mov"):
            crop = _mp4_crop(file, stream.id, stream.width, stream.height)
        else:
            return None
    return crop if crop and any((crop.left, crop.top, crop.right, crop.bottom)) else None


def _matroska_crop(file: BinaryIO, number: int) -> Crop | None:
    """Return the PixelCrop values of the video track with this number, counted from 0."""
    size = file.seek(0, 2)
    for segment in _elements(file, (0, size), _SEGMENT):
        for tracks in _elements(file, segment, _TRACKS):
            videos = [
                video
                for track in _elements(file, tracks, _TRACK)
                if _unsigned(file, track, _TRACK_TYPE) == _IS_VIDEO
                for video in [*_elements(file, track, _VIDEO)][:1] or [(0, 0)]
            ]
            if number < len(videos):
                sides = (_CROP_LEFT, _CROP_TOP, _CROP_RIGHT, _CROP_BOTTOM)
                return Crop(*(min(_unsigned(file, videos[number], side), _MAX_SIDE) for side in sides))
            return None
    return None


def _elements(file: BinaryIO, span: Span, wanted: int) -> Iterator[Span]:
    """Yield the contents of the EBML elements with an id, of one level."""
    position, end = span
    for _ in range(_MAX_ELEMENTS):
        file.seek(position)
        element_id, after_id = _vint(file, keep_marker=True)
        length, after_length = _vint(file, keep_marker=False)
        if not after_id or not after_length:
            return
        start = position + after_id + after_length
        unknown = length == (1 << 7 * after_length) - 1
        element_end = end if unknown else min(start + length, end)
        if element_id == wanted:
            yield start, element_end
        if unknown or element_end <= position or element_end >= end:
            return
        position = element_end


def _vint(file: BinaryIO, *, keep_marker: bool) -> tuple[int, int]:
    """Read an EBML number of variable width; return it and its width in bytes, 0 at the end of the file."""
    first = file.read(1)
    if not first or not first[0]:
        return 0, 0
    width = 9 - first[0].bit_length()
    rest = file.read(width - 1)
    if len(rest) < width - 1:
        return 0, 0
    value = int.from_bytes(first + rest, "big")
    return (value if keep_marker else value & ((1 << 7 * width) - 1)), width


def _unsigned(file: BinaryIO, span: Span, wanted: int) -> int:
    """Return the unsigned integer of an element's first child with an id; 0 if it has none."""
    for start, end in _elements(file, span, wanted):
        file.seek(start)
        return int.from_bytes(file.read(min(end - start, 8)), "big")
    return 0


def _mp4_crop(file: BinaryIO, track_id: int, width: int, height: int) -> Crop | None:
    """Return what the clean aperture of a track removes from a stored picture of width x height pixels."""
    size = file.seek(0, 2)
    for movie in _boxes(file, (0, size), b"moov"):
        for track in _boxes(file, movie, b"trak"):
            if _track_id(file, track) != track_id:
                continue
            for start, end in _nested(file, track, b"mdia", b"minf", b"stbl", b"stsd"):
                file.seek(start + 8)  # version, flags and the number of entries
                entry_bytes = int.from_bytes(file.read(4), "big")
                entry = start + 16, min(start + 8 + entry_bytes, end)
                for clap in _boxes(file, (entry[0] + _VISUAL_ENTRY_BYTES, entry[1]), b"clap"):
                    return _clean_aperture(file, clap, width, height)
    return None


def _clean_aperture(file: BinaryIO, span: Span, width: int, height: int) -> Crop | None:
    """Return the crop of a `clap` box; None if its numbers make no sense."""
    file.seek(span[0])
    data = file.read(min(span[1] - span[0], 32))
    if len(data) < 32:
        return None
    numbers = [int.from_bytes(data[at : at + 4], "big", signed=True) for at in range(0, 32, 4)]
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    if any(denominator == 0 for _, denominator in pairs):
        return None
    clean_width, clean_height, right, down = (Fraction(*pair) for pair in pairs)
    if not (0 < clean_width <= width and 0 < clean_height <= height):
        return None
    left, top = (width - clean_width) / 2 + right, (height - clean_height) / 2 + down
    if left < 0 or top < 0 or left + clean_width > width or top + clean_height > height:
        return None
    first_column, first_line = round(left), round(top)
    return Crop(
        first_column,
        first_line,
        max(0, width - first_column - round(clean_width)),
        max(0, height - first_line - round(clean_height)),
    )


def _track_id(file: BinaryIO, track: Span) -> int | None:
    for start, _ in _boxes(file, track, b"tkhd"):
        file.seek(start)
        is_long = file.read(1) == b"\x01"  # version 1 has times of eight bytes
        file.seek(start + (20 if is_long else 12))
        return int.from_bytes(file.read(4), "big")
    return None


def _nested(file: BinaryIO, span: Span, *names: bytes) -> Iterator[Span]:
    """Yield the boxes at the end of a path of names."""
    if not names:
        yield span
        return
    for inner in _boxes(file, span, names[0]):
        yield from _nested(file, inner, *names[1:])


def _boxes(file: BinaryIO, span: Span, wanted: bytes) -> Iterator[Span]:
    """Yield the contents of the MP4 boxes with a name, of one level."""
    position, end = span
    while position + 8 <= end:
        file.seek(position)
        header = file.read(16)
        length, name, head = int.from_bytes(header[:4], "big"), header[4:8], 8
        if length == 1:
            length, head = int.from_bytes(header[8:16], "big"), 16
        box_end = end if length == 0 else min(position + length, end)
        if name == wanted:
            yield position + head, box_end
        if length and length < head:
            return
        position = box_end
