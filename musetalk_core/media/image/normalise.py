"""Convert decoded frames to `Picture`: upright, square pixels, even sides, 8-bit 4:2:0, BT.709."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from musetalk_core.media.image.colour_volume import ColourConverter, needs_conversion
from musetalk_core.media.image.frame_properties import (
    FULL_RANGE,
    LIMITED_RANGE,
    SWSCALE_BT709,
    check_supported,
    colour_space,
    frame_orientation,
    has_alpha,
    is_full_range,
)
from musetalk_core.media.image.orientation import even_size, square_pixel_size
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Image

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_SWSCALE_THREADS = 2
_WHITE_LUMA, _NEUTRAL_CHROMA = 235, 128


class Normaliser:
    """
    A converter of the frames of one stream. It reuses swscale's tables between calls, so use one per thread.

    Attributes:
        width, height: of every converted frame, in pixels.
    """

    def __init__(
        self, first: VideoFrame, aspect: Fraction | None, size: tuple[int, int] | None = None
    ) -> None:
        """
        Take the geometry from any frame of the stream.

        Args:
            first:  a frame of the stream.
            aspect: pixel aspect ratio, width / height of one stored pixel; None = square.
            size:   output width and height if they are already fixed; None = the shown size of `first`.

        Raises:
            MediaUnreadable: the frame has properties that are not supported.
        """
        from av.video.reformatter import Interpolation, VideoReformatter

        check_supported(first)
        self._aspect, self._orientation = aspect, frame_orientation(first)
        self._converter = ColourConverter(first) if needs_conversion(first) else None
        self._reformatter = VideoReformatter()
        self._flags = (
            Interpolation.BICUBIC
            | Interpolation.ACCURATE_RND
            | Interpolation.FULL_CHR_H_INP
            | Interpolation.FULL_CHR_H_INT
        )
        self.width, self.height = size or self._shown_size(first)

    def _shown_size(self, frame: VideoFrame) -> tuple[int, int]:
        return even_size(
            *self._orientation.oriented_size(*square_pixel_size(frame.width, frame.height, self._aspect))
        )

    def to_picture(self, frame: VideoFrame) -> Picture:
        """Convert one frame. An upright 8-bit 4:2:0 BT.709 limited-range frame keeps its bytes."""
        size = square_pixel_size(frame.width, frame.height, self._aspect)
        if self._shown_size(frame) != (self.width, self.height):  # the stream changed its size midway
            size = self._orientation.oriented_size(self.width, self.height)
        is_plain = frame.format.name == "yuv420p" and size == (frame.width, frame.height)
        is_plain = is_plain and self._converter is None
        if is_plain and colour_space(frame) == SWSCALE_BT709 and not is_full_range(frame):
            planes = _planes(frame)
        else:
            planes = self._convert(frame, size)
        return self._pack(planes)

    def _convert(self, frame: VideoFrame, size: tuple[int, int]) -> list[Image]:
        transparent, space, is_full = has_alpha(frame), colour_space(frame), is_full_range(frame)
        if self._converter is not None:
            rgb = self._reformat(
                frame, (frame.width, frame.height), "gbrap16le" if transparent else "gbrp16le", space, is_full
            )
            frame, space, is_full = self._converter.convert(rgb), SWSCALE_BT709, True
        converted = self._reformat(frame, size, "yuva420p" if transparent else "yuv420p", space, is_full)
        planes = _planes(converted)
        return _blend_on_white(planes) if transparent else planes

    def _reformat(
        self, frame: VideoFrame, size: tuple[int, int], form: str, space: int, is_full: bool
    ) -> VideoFrame:
        is_rgb_target = form.startswith("gbr")
        return self._reformatter.reformat(
            frame,
            *size,
            format=form,
            src_colorspace=space,
            dst_colorspace=SWSCALE_BT709,
            src_color_range=FULL_RANGE if is_full else LIMITED_RANGE,
            dst_color_range=FULL_RANGE if is_rgb_target else LIMITED_RANGE,
            interpolation=self._flags,
            threads=_SWSCALE_THREADS,
        )

    def _pack(self, planes: list[Image]) -> Picture:
        out = np.empty((self.height * 3 // 2, self.width), np.uint8)
        picture = Picture(out)
        for target, plane in zip((picture.y, picture.u, picture.v), planes, strict=True):
            turned = self._orientation.apply(
                _pad_edges(plane, target.shape[:: -1 if self._orientation.transpose else 1])
            )
            np.copyto(target, turned)
        return picture


def _planes(frame: VideoFrame) -> list[Image]:
    """Return (h, w) uint8 views of a frame's 8-bit planes, without line padding."""
    planes: list[Any] = list(frame.planes)  # buffers, which PyAV's type stubs do not declare
    return [
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in planes
    ]


def _pad_edges(plane: Image, shape: tuple[int, ...]) -> Image:
    """Pad a plane to a shape by repeating its last column and line."""
    below, beside = shape[0] - plane.shape[0], shape[1] - plane.shape[1]
    return np.pad(plane, ((0, below), (0, beside)), mode="edge") if below or beside else plane


def _blend_on_white(planes: list[Image]) -> list[Image]:
    """Blend Y, U, V, A planes over white; equal to blending in RGB, because the conversion is linear."""
    *planes_yuv, alpha = planes
    if alpha.min() == 255:
        return planes_yuv
    half = planes_yuv[1].shape[::-1]
    half_alpha = np.asarray(cv2.resize(alpha, half, interpolation=cv2.INTER_AREA), np.uint8)
    layers = zip(
        planes_yuv,
        (alpha, half_alpha, half_alpha),
        (_WHITE_LUMA, _NEUTRAL_CHROMA, _NEUTRAL_CHROMA),
        strict=True,
    )
    return [_blend(colour, weight, ground) for colour, weight, ground in layers]


def _blend(colour: Image, weight: Image, background: int) -> Image:
    alpha = weight.astype(np.uint16)
    return ((colour * alpha + background * (255 - alpha) + 127) // 255).astype(np.uint8)
