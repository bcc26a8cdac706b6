"""Convert decoded frames to `Picture`: upright, square pixels, even sides, 8-bit 4:2:0, BT.709."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from musetalk_core.media.geometry import Turn, evened_size, square_size
from musetalk_core.media.picture import Picture
from musetalk_core.types import Image

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_SCALER_SPACES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""AVColorSpace -> swscale's color space number; both are part of FFmpeg's ABI."""
_SCALER_BT709, _SCALER_BT601 = 1, 5
_LIMITED, _FULL = 1, 2  # AVColorRange
_HD_LINES = 720
"""Untagged video with fewer lines is taken as BT.601, from this height on as BT.709."""
_SCALER_THREADS = 2
_WHITE_LUMA, _NO_CHROMA = 235, 128


def frame_turn(frame: VideoFrame) -> Turn:
    """Return the orientation from a frame's display matrix."""
    entries: Any = frame.side_data  # typed as a dict of motion vectors, is a sequence of all
    for data in entries:
        if data.type.name == "DISPLAYMATRIX":
            return Turn.from_matrix(bytes(data))
    return Turn()


def colour_space(frame: VideoFrame) -> int:
    """Return swscale's number of a frame's color matrix; guessed from its height if the frame is untagged."""
    if _is_rgb(frame):
        return _SCALER_BT709
    guess = _SCALER_BT601 if frame.height < _HD_LINES else _SCALER_BT709
    return _SCALER_SPACES.get(frame.colorspace, guess)


def is_full_range(frame: VideoFrame) -> bool:
    """Tell whether luma has the full range 0..255: by tag, by pixel format, RGB, or untagged gray."""
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

        self._aspect, self._turn = aspect, frame_turn(first)
        self._reformatter = VideoReformatter()
        self._flags = (
            Interpolation.BICUBIC
            | Interpolation.ACCURATE_RND
            | Interpolation.FULL_CHR_H_INP
            | Interpolation.FULL_CHR_H_INT
        )
        self.width, self.height = size or self._shown(first)

    def _shown(self, frame: VideoFrame) -> tuple[int, int]:
        return evened_size(*self._turn.size(*square_size(frame.width, frame.height, self._aspect)))

    def picture(self, frame: VideoFrame) -> Picture:
        """Convert one frame. An upright 8-bit 4:2:0 BT.709 limited-range frame keeps its bytes."""
        size = square_size(frame.width, frame.height, self._aspect)
        if self._shown(frame) != (self.width, self.height):  # the stream changed its size midway
            size = self._turn.size(self.width, self.height)
        is_plain = frame.format.name == "yuv420p" and size == (frame.width, frame.height)
        if is_plain and colour_space(frame) == _SCALER_BT709 and not is_full_range(frame):
            planes = _planes(frame)
        else:
            planes = self._converted(frame, size)
        return self._packed(planes)

    def _converted(self, frame: VideoFrame, size: tuple[int, int]) -> list[Image]:
        has_alpha = _has_alpha(frame)
        converted = self._reformatter.reformat(
            frame,
            *size,
            format="yuva420p" if has_alpha else "yuv420p",
            src_colorspace=colour_space(frame),
            dst_colorspace=_SCALER_BT709,
            src_color_range=_FULL if is_full_range(frame) else _LIMITED,
            dst_color_range=_LIMITED,
            interpolation=self._flags,
            threads=_SCALER_THREADS,
        )
        planes = _planes(converted)
        return _on_white(planes) if has_alpha else planes

    def _packed(self, planes: list[Image]) -> Picture:
        out = np.empty((self.height * 3 // 2, self.width), np.uint8)
        picture = Picture(out)
        for target, plane in zip((picture.y, picture.u, picture.v), planes, strict=True):
            turned = self._turn.applied(_grown(plane, target.shape[:: -1 if self._turn.transpose else 1]))
            np.copyto(target, turned)
        return picture


def _planes(frame: VideoFrame) -> list[Image]:
    """Return (h, w) uint8 views of a frame's 8-bit planes, without line padding."""
    planes: list[Any] = list(frame.planes)  # buffers, which PyAV's type stubs do not declare
    return [
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in planes
    ]


def _grown(plane: Image, shape: tuple[int, ...]) -> Image:
    """Pad a plane to a shape by repeating its last column and line."""
    below, beside = shape[0] - plane.shape[0], shape[1] - plane.shape[1]
    return np.pad(plane, ((0, below), (0, beside)), mode="edge") if below or beside else plane


def _on_white(planes: list[Image]) -> list[Image]:
    """Blend Y, U, V, A planes over white; equal to blending in RGB, because the conversion is linear."""
    *colours, alpha = planes
    if alpha.min() == 255:
        return colours
    half = colours[1].shape[::-1]
    thin = np.asarray(cv2.resize(alpha, half, interpolation=cv2.INTER_AREA), np.uint8)
    layers = zip(colours, (alpha, thin, thin), (_WHITE_LUMA, _NO_CHROMA, _NO_CHROMA), strict=True)
    return [_mixed(colour, weight, ground) for colour, weight, ground in layers]


def _mixed(colour: Image, weight: Image, ground: int) -> Image:
    opaque = weight.astype(np.uint16)
    return ((colour * opaque + ground * (255 - opaque) + 127) // 255).astype(np.uint8)
