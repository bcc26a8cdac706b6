"""Read still images: check the size in the header, then decode to an upright, opaque, 8-bit picture."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from musetalk_core.errors import MediaTooLarge, MediaUnreadable
from musetalk_core.media.geometry import Turn, evened_size
from musetalk_core.media.limits import Limits
from musetalk_core.media.picture import Picture
from musetalk_core.media.sniff import Sniffed
from musetalk_core.types import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

_ORIENTATION = 0x0112  # EXIF
_TURNS = {
    2: Turn(False, True, False),
    3: Turn(False, True, True),
    4: Turn(False, False, True),
    5: Turn(True, False, False),
    6: Turn(True, True, False),
    7: Turn(True, True, True),
    8: Turn(True, False, True),
}
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error)


@contextmanager
def opened_still(path: Path, sniffed: Sniffed, limits: Limits) -> Generator[PillowImage]:
    """
    Open an image without decoding it.

    Args:
        path:      a local file.
        file_type: result of `sniff(path)`; Pillow may use only this format.
        limits:    `still_pixels` is checked against the header. Pillow's limit of 89 megapixels also applies.

    Raises:
        MediaTooLarge: the header states too many pixels.
        MediaUnreadable: the file is damaged; also raised for errors while the block decodes it.
    """
    from PIL import Image as Pillow

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            image = Pillow.open(path, formats=[sniffed.demuxer])
        with image:
            _refuse_large(image.size, limits)
            yield image
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
        raise _too_large("", limits) from error
    except _BROKEN as error:
        raise MediaUnreadable(
            f"The {sniffed.name} image is damaged or cut off; export or upload it again.", format=sniffed.name
        ) from error


def _refuse_large(size: tuple[int, int], limits: Limits) -> None:
    if size[0] * size[1] > limits.still_pixels:
        raise _too_large(f" of {size[0]}x{size[1]}", limits)
    if min(size) < 2:
        raise MediaUnreadable(f"The image is only {size[0]}x{size[1]} pixels; send a larger one.")


def _too_large(what: str, limits: Limits) -> MediaTooLarge:
    millions = limits.still_pixels / 1e6
    return MediaTooLarge(
        f"The image{what} is too large: the limit is {millions:g} million pixels; shrink it."
    )


def turn_of(image: PillowImage) -> Turn:
    """Return the orientation from an image's EXIF data, without decoding the image."""
    from PIL import Image as Pillow

    # PngImageFile.getexif() decodes the whole image to look for a late EXIF chunk; the base method does not.
    return _TURNS.get(Pillow.Image.getexif(image).get(_ORIENTATION, 1), Turn())


def shown_size(image: PillowImage, limits: Limits) -> tuple[int, int]:
    """Return the decoded width and height: upright, at most the pixels of a video frame, even."""
    return evened_size(*turn_of(image).size(*_fitted(image.size, limits)))


def _fitted(size: tuple[int, int], limits: Limits) -> tuple[int, int]:
    """Scale a size down to the pixel limit of a video frame, because a still becomes a video."""
    scale = min(1.0, (limits.video_pixels / (size[0] * size[1])) ** 0.5)
    return size if scale == 1 else (max(2, int(size[0] * scale) & ~1), max(2, int(size[1] * scale) & ~1))


def read_still(path: Path, sniffed: Sniffed, limits: Limits, size: tuple[int, int] | None = None) -> Picture:
    """
    Decode one image of any bit depth or color mode: upright by EXIF, transparency on white.

    Args:
        path:      a local file.
        file_type: result of `sniff(path)`.
        limits:    pixel limits; without `size` they also determine how far the image is scaled down.
        size:      output width and height if they are already fixed, even; None = `shown_size`.

    Raises:
        MediaTooLarge: the header states too many pixels; nothing is decoded then.
        MediaUnreadable: the file is damaged.
    """
    with opened_still(path, sniffed, limits) as image:
        turn, size = turn_of(image), size or shown_size(image, limits)
        bgr = _evened(turn.applied(opaque_bgr(image)))
    if size != (bgr.shape[1], bgr.shape[0]):
        bgr = np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    return Picture.from_bgr(bgr)


def _evened(bgr: Image) -> Image:
    height, width = bgr.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return bgr
    return np.pad(bgr, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def opaque_bgr(image: PillowImage) -> Image:
    """Decode any bit depth and color mode to (H, W, 3) uint8 BGR, transparency on white; not rotated."""
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey(image)
    if image.has_transparency_data:
        return _on_white(np.asarray(image.convert("RGBA")))
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])


def _deep_grey(image: PillowImage) -> Image:
    """Scale gray of more than 8 bits to 8 bits; Pillow's own conversion clips instead of scaling."""
    deep = np.nan_to_num(np.asarray(image).astype(np.float32))
    grey = np.clip(deep * (255 if image.mode == "F" and deep.max() <= 1 else 1 / 257), 0, 255)
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)


def _on_white(rgba: Image) -> Image:
    alpha = rgba[..., 3:].astype(np.uint16)
    mixed = rgba[..., 2::-1] * alpha + 255 * (255 - alpha) + 127
    return (mixed // 255).astype(np.uint8)
