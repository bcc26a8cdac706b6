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
from musetalk_core.media.image.colour_profiles import refuse_hdr_png, to_srgb
from musetalk_core.media.image.orientation import Orientation, even_size
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.source.sniff import FileType
from musetalk_core.types import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

_EXIF_ORIENTATION_TAG = 0x0112  # EXIF
_EXIF_ORIENTATIONS = {
    2: Orientation(False, True, False),
    3: Orientation(False, True, True),
    4: Orientation(False, False, True),
    5: Orientation(True, False, False),
    6: Orientation(True, True, False),
    7: Orientation(True, True, True),
    8: Orientation(True, False, True),
}
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error)


@contextmanager
def open_still(path: Path, file_type: FileType, limits: MediaLimits) -> Generator[PillowImage]:
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
            image = Pillow.open(path, formats=[file_type.demuxer])
        if file_type.name == "png":
            refuse_hdr_png(path)
        with image:
            _check_size(image.size, limits)
            yield image
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
        raise _too_large_error("", limits) from error
    except _DECODE_ERRORS as error:
        raise MediaUnreadable(
            f"The {file_type.name} image is damaged or cut off; export or upload it again.",
            format=file_type.name,
        ) from error


def _check_size(size: tuple[int, int], limits: MediaLimits) -> None:
    if size[0] * size[1] > limits.still_pixels:
        raise _too_large_error(f" of {size[0]}x{size[1]}", limits)
    if min(size) < 2:
        raise MediaUnreadable(f"The image is only {size[0]}x{size[1]} pixels; send a larger one.")


def _too_large_error(size_text: str, limits: MediaLimits) -> MediaTooLarge:
    millions = limits.still_pixels / 1e6
    return MediaTooLarge(
        f"The image{size_text} is too large: the limit is {millions:g} million pixels; shrink it."
    )


def exif_orientation(image: PillowImage) -> Orientation:
    """Return the orientation from an image's EXIF data, without decoding the image."""
    from PIL import Image as Pillow

    # PngImageFile.getexif() decodes the whole image to look for a late EXIF chunk; the base method does not.
    return _EXIF_ORIENTATIONS.get(Pillow.Image.getexif(image).get(_EXIF_ORIENTATION_TAG, 1), Orientation())


def shown_size(image: PillowImage, limits: MediaLimits) -> tuple[int, int]:
    """Return the decoded width and height: upright, at most the pixels of a video frame, even."""
    return even_size(*exif_orientation(image).oriented_size(*_fit_to_video_frame(image.size, limits)))


def _fit_to_video_frame(size: tuple[int, int], limits: MediaLimits) -> tuple[int, int]:
    """Scale a size down to the pixel limit of a video frame, because a still becomes a video."""
    scale = min(1.0, (limits.video_pixels / (size[0] * size[1])) ** 0.5)
    return size if scale == 1 else (max(2, int(size[0] * scale) & ~1), max(2, int(size[1] * scale) & ~1))


def read_still(
    path: Path, file_type: FileType, limits: MediaLimits, size: tuple[int, int] | None = None
) -> Picture:
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
    with open_still(path, file_type, limits) as image:
        orientation, size = exif_orientation(image), size or shown_size(image, limits)
        bgr = _pad_to_even(orientation.apply(to_opaque_bgr(image)))
    if size != (bgr.shape[1], bgr.shape[0]):
        bgr = np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    return Picture.from_bgr(bgr)


def _pad_to_even(bgr: Image) -> Image:
    height, width = bgr.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return bgr
    return np.pad(bgr, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def to_opaque_bgr(image: PillowImage) -> Image:
    """Decode any bit depth and color mode to (H, W, 3) uint8 BGR, transparency on white; not rotated."""
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_deep_grey(image)
    image = to_srgb(image)
    if image.has_transparency_data:
        return _blend_on_white(np.asarray(image.convert("RGBA")))
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])


def _scale_deep_grey(image: PillowImage) -> Image:
    """Scale gray of more than 8 bits to 8 bits; Pillow's own conversion clips instead of scaling."""
    deep = np.nan_to_num(np.asarray(image).astype(np.float32))
    grey = np.clip(deep * (255 if image.mode == "F" and deep.max() <= 1 else 1 / 257), 0, 255)
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)


def _blend_on_white(rgba: Image) -> Image:
    alpha = rgba[..., 3:].astype(np.uint16)
    blended = rgba[..., 2::-1] * alpha + 255 * (255 - alpha) + 127
    return (blended // 255).astype(np.uint8)
