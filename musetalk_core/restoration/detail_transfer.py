"""
Detail transfer: replace the fine detail of a rendered face by that of its source frame, where they agree.

An engine that renders 256 pixels cannot render the skin of a face that is 700 pixels high. The source frame
has that skin. Both pictures are split into a coarse and a fine band; the coarse band of the rendered face,
which holds the speech, stays. Its fine band becomes that of the source, moved along the optical flow between
the coarse pictures, because chin and cheeks move. Where the coarse pictures disagree although they are
aligned (lips, teeth, the inside of the mouth), the rendered fine band stays and is amplified by the factor
that the other places show.

Only luma is changed: the color of a picture has little fine detail, and video halves its resolution anyway.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Final

import cv2
import numpy as np

from musetalk_core.restoration.optical_flow import OpticalFlow
from musetalk_core.restoration.restorer_protocol import RenderedFace
from musetalk_core.types import Float, Image, Mask

DETAIL_VERSION: Final = 1
"""Code version in cache keys. Increase it when pixels change."""
_COARSE_SIDE_PX: Final = 72
"""Longer side of the face box in the coarse band; rendered faces of 256 pixels lose contrast above it."""
_FLOW_SIDE_PX: Final = 104
"""Longer side of the face box for optical flow and comparison."""
_FLOW_SIGMA_PX: Final = 3.2
"""Smoothing of the flow: skin moves smoothly, and less noise in the flow is less flicker of the detail."""
_TOLERANCE_LEVELS: Final = 10.0
"""Difference of the aligned pictures, in levels of 255, at which the share of source detail is 1/e."""
_COMPARE_SIGMA_PX: Final = 1.5
_MAX_GAIN: Final = 2.0
"""Limit of the amplification of rendered detail; more shows the codec's and the network's noise."""
_MIN_SHARE: Final = 0.05
"""Mean share of source detail below which nothing is amplified: too little is known."""
_MIN_SIDE_PX: Final = 16
"""Smaller parts are left alone: the optical flow needs at least two of its patches."""


class DetailTransfer:
    """A `FaceRestorer` that needs no model: 10 ms of CPU time for a face of 600 pixels."""

    def __init__(self) -> None:
        self._flow = OpticalFlow()
        self._source: _SourceDetail | None = None

    def restore(self, rendered: RenderedFace) -> Image:
        """Return the face with the source's detail in its visible part; see `FaceRestorer`."""
        visible, box = rendered.visible, rendered.box
        if min(visible.size) < _MIN_SIDE_PX:
            return rendered.face
        rows, columns = visible.relative_to(box).slices()
        part = np.ascontiguousarray(rendered.face[rows, columns])
        restored = rendered.face.copy()
        restored[rows, columns] = self._transfer(part, self._source_detail(rendered))
        return restored

    def _source_detail(self, rendered: RenderedFace) -> "_SourceDetail":
        """Return the detail of the source frame; a still or a slow clip shows one frame many times."""
        key = rendered.frame, rendered.visible, rendered.box
        if self._source is None or self._source.key != key:
            pixels = rendered.picture.crop(rendered.visible)
            self._source = _SourceDetail.of(pixels, max(rendered.box.size), key)
        return self._source

    def _transfer(self, part: Image, source: "_SourceDetail") -> Image:
        size = part.shape[1], part.shape[0]
        small = _shrink(part, source.compared.shape[1::-1])
        field = self._flow.between(_luma(small), _luma(source.compared), _FLOW_SIGMA_PX)
        share = _grow(_agreement(small, field.move(source.compared)), size)
        fine_source = field.enlarged(*size).move(source.fine)
        fine = _fine_band(_luma(part), source.coarse_size)
        change = share * (fine_source - fine) + (1 - share) * (_gain(share, fine_source, fine) - 1) * fine
        return np.asarray(cv2.add(part, cv2.merge([change] * 3), dtype=cv2.CV_8U), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class _SourceDetail:
    """
    The fine band of a source frame, and what places it.

    Attributes:
        key:         identifies frame and place.
        coarse_size: width and height of the part in the coarse band.
        compared:    (sh, sw, 3) uint8 BGR, the part at the size of the optical flow.
        fine:        (h, w) float32, its fine band of luma.
    """

    key: tuple[object, ...]
    coarse_size: tuple[int, int]
    compared: Image
    fine: Float

    @classmethod
    def of(cls, pixels: Image, side: int, key: tuple[object, ...]) -> "_SourceDetail":
        """Split the (h, w, 3) uint8 BGR pixels of a part of a face box whose longer side is `side`."""
        coarse_size = _scaled_size(pixels, _COARSE_SIDE_PX / side)
        compared = _shrink(pixels, _scaled_size(pixels, _FLOW_SIDE_PX / side))
        return cls(key, coarse_size, compared, _fine_band(_luma(pixels), coarse_size))


def _scaled_size(pixels: Image, scale: float) -> tuple[int, int]:
    height, width = pixels.shape[:2]
    scale = min(1.0, scale)
    return max(_MIN_SIDE_PX, round(width * scale)), max(_MIN_SIDE_PX, round(height * scale))


def _fine_band(luma: Mask, coarse_size: tuple[int, int]) -> Float:
    values = luma.astype(np.float32)
    coarse = cv2.resize(
        cv2.resize(values, coarse_size, interpolation=cv2.INTER_AREA),
        luma.shape[1::-1],
        interpolation=cv2.INTER_CUBIC,
    )
    return np.asarray(values - coarse, np.float32)


def _agreement(rendered: Image, source: Image) -> Float:
    """Return the share of source detail, 0..1 float32, from two aligned uint8 BGR pictures."""
    difference = cv2.dilate(cv2.absdiff(rendered, source).max(axis=2), np.ones((3, 3), np.uint8))
    difference = cv2.GaussianBlur(difference.astype(np.float32), (0, 0), _COMPARE_SIGMA_PX)
    return np.exp(-np.square(difference / _TOLERANCE_LEVELS)).astype(np.float32)


def _gain(share: Float, source: Float, rendered: Float) -> float:
    """Return the factor by which the rendered detail is too weak where it agrees with the source."""
    if float(share.mean()) < _MIN_SHARE:
        return 1.0
    wanted, found = float(np.vdot(share, source * source)), float(np.vdot(share, rendered * rendered))
    return min(_MAX_GAIN, max(1.0, sqrt(wanted / max(found, 1e-6))))


def _luma(pixels: Image) -> Mask:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)


def _shrink(pixels: Image, size: tuple[int, ...]) -> Image:
    return np.asarray(cv2.resize(pixels, (size[0], size[1]), interpolation=cv2.INTER_AREA), np.uint8)


def _grow(values: Float, size: tuple[int, int]) -> Float:
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), np.float32)
