"""Convert decoded frames to `Picture`: upright, square pixels, even sides, 8-bit 4:2:0, BT.709."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from musetalk_core.media.image.orientation import Orientation, even_size, square_pixel_size
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Image

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_SWSCALE_SPACES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""AVColorSpace -> swscale's color space number; both are part of FFmpeg's ABI."""
_SWSCALE_BT709, _SWSCALE_BT601 = 1, 5
_LIMITED, _FULL = 1, 2  # AVColorRange
_MIN_HD_LINES = 720
"""Untagged video with fewer lines is taken as BT.601, from this height on as BT.709."""
_SWSCALE_THREADS = 2
_WHITE_LUMA, _NEUTRAL_CHROMA = 235, 128


def frame_orientation(frame: VideoFrame) -> Orientation:
    """Return the orientation from a frame's display matrix."""
    entries: Any = frame.side_data  # typed as a dict of motion vectors, is a sequence of all
    for data in entries:
        if data.type.name == "DISPLAYMATRIX":
            return Orientation.from_matrix(bytes(data))
    return Orientation()


def colour_space(frame: VideoFrame) -> int:
    """Return swscale's number of a frame's color matrix; guessed from its height if the frame is untagged."""
    if _is_rgb(frame):
        return _SWSCALE_BT709
    guess = _SWSCALE_BT601 if frame.height < _MIN_HD_LINES else _SWSCALE_BT709
    return _SWSCALE_SPACES.get(frame.colorspace, guess)


def is_full_range(frame: VideoFrame) -> bool:
    """Return whether luma has the full range 0..255: by tag, by pixel format, RGB, or untagged gray."""
    name = frame.format.name
    if _is_rgb(frame) or name.startswith("yuvj"):
        return True
    return frame.color_range == _FULL or (name.startswith(("gray", "ya")) and frame.color_range != _LIMITED)


def _is_rgb(frame: VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.has_palette


def _has_alpha(frame: VideoFrame) -> bool:
    return frame.format.has_palette or any(component.is_alpha for component in frame.format.components)


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
        """
        from av.video.reformatter import Interpolation, VideoReformatter

        self._aspect, self._orientation = aspect, frame_orientation(first)
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
        if is_plain and colour_space(frame) == _SWSCALE_BT709 and not is_full_range(frame):
            planes = _planes(frame)
        else:
            planes = self._convert(frame, size)
        return self._pack(planes)

    def _convert(self, frame: VideoFrame, size: tuple[int, int]) -> list[Image]:
        has_alpha = _has_alpha(frame)
        converted = self._reformatter.reformat(
            frame,
            *size,
            format="yuva420p" if has_alpha else "yuv420p",
            src_colorspace=colour_space(frame),
            dst_colorspace=_SWSCALE_BT709,
            src_color_range=_FULL if is_full_range(frame) else _LIMITED,
            dst_color_range=_LIMITED,
            interpolation=self._flags,
            threads=_SWSCALE_THREADS,
        )
        planes = _planes(converted)
        return _blend_on_white(planes) if has_alpha else planes

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
