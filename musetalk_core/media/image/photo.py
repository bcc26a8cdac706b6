"""Read images for analysis: more formats than stills for rendering, at full resolution."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from musetalk_core.errors import MediaUnreadable
from musetalk_core.media.image.still import exif_orientation, open_still, to_opaque_bgr
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.source.sniff import FileType, describe_unsupported, sniff
from musetalk_core.types import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

_HEAD_BYTES: Final = 64
_PREFIXES: Final = (
    (b"GIF87a", FileType(True, "gif", "GIF")),
    (b"GIF89a", FileType(True, "gif", "GIF")),
    (b"II*\0", FileType(True, "tiff", "TIFF")),
    (b"MM\0*", FileType(True, "tiff", "TIFF")),
    (b"II+\0", FileType(True, "tiff", "TIFF")),
    (b"MM\0+", FileType(True, "tiff", "TIFF")),
)
_BMP_HEADERS: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_AVIF, _HEIF = (b"avif", b"avis"), (b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1")
_ACCEPTED: Final = "Send png, jpeg, webp, gif, bmp, tiff or avif."


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """
    A decoded image.

    Attributes:
        bgr:     (H, W, 3) uint8 BGR, upright (EXIF), transparency on white, at full resolution.
        format:  png, jpeg, webp, gif, bmp, tiff or avif.
        is_part: the file contains more frames or pages; this is the first one.
    """

    bgr: Image
    format: str
    is_part: bool

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.bgr.shape[1], self.bgr.shape[0]


def sniff_photo(path: Path) -> FileType:
    """
    Detect the format of an image from its content. File names and content types are ignored.

    Raises:
        MediaUnreadable: the file is no image, or its format is not accepted.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    file_type = next(
        (kind for prefix, kind in _PREFIXES if head.startswith(prefix)), None
    ) or _detect_by_header(head)
    if file_type is not None:
        return file_type
    try:
        sniffed_type = sniff(path)
    except MediaUnreadable as error:
        what = describe_unsupported(head) if head else "empty (0 bytes)"
        raise MediaUnreadable(f"The file is {what}. {_ACCEPTED}") from error
    if not sniffed_type.is_still:
        raise MediaUnreadable(f"The file is {sniffed_type.name} (video or audio), not a picture. {_ACCEPTED}")
    return sniffed_type


def _detect_by_header(head: bytes) -> FileType | None:
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return FileType(True, "bmp", "BMP")
    if head[4:8] != b"ftyp":
        return None
    length = int.from_bytes(head[:4], "big")
    brands = [head[start : start + 4] for start in (8, *range(16, min(length, len(head)), 4))]
    if any(brand in _AVIF for brand in brands):
        return FileType(True, "avif", "AVIF")
    if any(brand in _HEIF for brand in brands):
        raise MediaUnreadable(f"The file is a HEIC photo, which cannot be read here. {_ACCEPTED}")
    return None


def check_photo(path: Path, limits: MediaLimits) -> FileType:
    """
    Detect the format of an image and check its header against the limits, without decoding it.

    Raises:
        MediaUnreadable: the file is no image, its format is not accepted, or its header is damaged.
        MediaTooLarge: the header states too many pixels.
    """
    file_type = sniff_photo(path)
    with open_still(path, file_type, limits):
        return file_type


def read_photo(path: Path, limits: MediaLimits) -> Photo:
    """
    Decode an image. Of an animation or a multi-page file only the first frame is decoded.

    Args:
        path:   a local file.
        limits: `still_pixels` is checked against the header before anything is decoded.

    Raises:
        MediaUnreadable: the file is no image, truncated or damaged, or has an unsupported color mode.
        MediaTooLarge: the header states too many pixels.
    """
    file_type = sniff_photo(path)
    with open_still(path, file_type, limits) as image:
        is_part = bool(getattr(image, "is_animated", False))
        image.load()  # Pillow rotates a TIFF while loading and then resets its EXIF orientation
        _reject_colour_mode(image, file_type)
        bgr = exif_orientation(image).apply(to_opaque_bgr(image))
    return Photo(bgr, file_type.name, is_part)


def _reject_colour_mode(image: PillowImage, file_type: FileType) -> None:
    if image.mode in ("LAB", "HSV"):
        raise MediaUnreadable(
            f"The {file_type.name} image has {image.mode} colours; export it as RGB.", mode=image.mode
        )
