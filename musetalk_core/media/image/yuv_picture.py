"""
Video frame between decoder and encoder: planar YUV, 8-bit 4:2:0, BT.709, limited range.

Only the crop that an engine uses is converted to BGR, and only the pixels that it changed are converted back.
All other pixels reach the encoder byte for byte as they were decoded.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from musetalk_core.types import Box, Float, Image, Mask

_KR, _KG, _KB = 0.2126, 0.7152, 0.0722  # ITU-R BT.709-6


def _bgr_from_yuv() -> Float:
    """Return the (3, 4) float32 matrix from limited-range [Y U V 1], 0..255, to BGR, 0..255."""
    luma, chroma = 255 / 219, 255 / 224  # limited range: Y is 16..235, U and V are 16..240 around 128
    blue, red = 2 * (1 - _KB) * chroma, 2 * (1 - _KR) * chroma
    green_u, green_v = -blue * _KB / _KG, -red * _KR / _KG
    rows = [[luma, blue, 0.0], [luma, green_u, green_v], [luma, 0.0, red]]
    return np.array([[*r, -16 * r[0] - 128 * (r[1] + r[2])] for r in rows], np.float32)


def _yuv_from_bgr() -> Float:
    """Return the (3, 4) float32 matrix from [B G R 1], 0..255, to limited-range YUV, 0..255."""
    weights = np.array([_KB, _KG, _KR])
    u = (np.array([1.0, 0, 0]) - weights) / (2 * (1 - _KB))
    v = (np.array([0, 0, 1.0]) - weights) / (2 * (1 - _KR))
    rows = [(weights * 219 / 255, 16), (u * 224 / 255, 128), (v * 224 / 255, 128)]
    return np.array([[*r, offset] for r, offset in rows], np.float32)


_YUV_TO_BGR, _BGR_TO_YUV = _bgr_from_yuv(), _yuv_from_bgr()
_ZEROS = np.zeros(3)


def _to_yuv444(bgr: Image) -> Image:
    return np.asarray(cv2.transform(bgr, _BGR_TO_YUV), np.uint8)


def _half_size(plane: Image) -> Image:
    size = plane.shape[1] // 2, plane.shape[0] // 2
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8)


def _changed_mask(crop: Image, source: Image) -> Mask:
    """Return an (h, w) uint8 mask with 255 for pixels that differ in any channel, else 0."""
    same = cv2.inRange(cv2.bitwise_xor(crop, source), _ZEROS, _ZEROS)
    return np.asarray(cv2.bitwise_not(same), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """
    An immutable video frame.

    Attributes:
        i420: (H * 3 / 2, W) uint8: H rows of Y, then the (H/2, W/2) planes U and V, packed. H and W are even.
    """

    i420: Image

    @classmethod
    def from_bgr(cls, bgr: Image) -> "Picture":
        """Convert a (H, W, 3) uint8 BGR image with even H and W."""
        height, width = bgr.shape[:2]
        yuv = _to_yuv444(np.ascontiguousarray(bgr))
        out = np.empty((height * 3 // 2, width), np.uint8)
        out[:height] = yuv[..., 0]
        picture = cls(out)
        picture.u[:], picture.v[:] = _half_size(yuv[..., 1]), _half_size(yuv[..., 2])
        return picture

    @property
    def height(self) -> int:
        """Height H in pixels."""
        return self.i420.shape[0] * 2 // 3

    @property
    def width(self) -> int:
        """Width W in pixels."""
        return self.i420.shape[1]

    @property
    def y(self) -> Image:
        """(H, W) uint8 view of the luma plane."""
        return self.i420[: self.height]

    @property
    def u(self) -> Image:
        """(H/2, W/2) uint8 view of the chroma plane U (Cb)."""
        return self._chroma(0)

    @property
    def v(self) -> Image:
        """(H/2, W/2) uint8 view of the chroma plane V (Cr)."""
        return self._chroma(1)

    def _chroma(self, number: int) -> Image:
        shape = self.height // 2, self.width // 2
        start = self.height * self.width + number * shape[0] * shape[1]
        return self.i420.reshape(-1)[start : start + shape[0] * shape[1]].reshape(shape)

    def bgr(self, box: Box | None = None) -> Image:
        """
        Return the pixels of a box as (h, w, 3) uint8 BGR, a new array.

        Args:
            box: even coordinates inside the picture; None = the whole picture.
        """
        box = box or Box(0, 0, self.width, self.height)
        rows, columns = box.slices()
        half = slice(rows.start // 2, rows.stop // 2), slice(columns.start // 2, columns.stop // 2)
        u, v = (
            cv2.resize(np.ascontiguousarray(plane[half]), box.size, interpolation=cv2.INTER_LINEAR)
            for plane in (self.u, self.v)
        )
        return np.asarray(cv2.transform(cv2.merge([self.y[rows, columns], u, v]), _YUV_TO_BGR), np.uint8)

    def crop(self, area: Box) -> Image:
        """
        Return the pixels of any area as (h, w, 3) uint8 BGR, a new array; black outside the picture.

        Args:
            area: coordinates of any parity, inside the picture or not.
        """
        inside = area.clip(self.width, self.height)
        if inside == area and area == area.align_even():
            return self.bgr(area)
        out = np.zeros((area.size[1], area.size[0], 3), np.uint8)
        if not inside.is_empty:
            even = inside.align_even()
            out[inside.relative_to(area).slices()] = self.bgr(even)[inside.relative_to(even).slices()]
        return out

    def with_crop(self, crop: Image, source: Image, box: Box) -> "Picture":
        """
        Return a copy of the picture with a changed crop in it.

        Args:
            crop:   (h, w, 3) uint8 BGR, the new pixels of the box.
            source: (h, w, 3) uint8 BGR, the result of `self.bgr(box)`. Pixels that are equal in `crop` and
                `source` keep their bytes, so an engine that does not change its border leaves no trace there.
            box:    even coordinates inside the picture.
        """
        changed = _changed_mask(crop, source)
        out = Picture(self.i420.copy())
        if not cv2.countNonZero(changed):
            return out
        y, u, v = cv2.split(_to_yuv444(np.ascontiguousarray(crop)))
        rows, columns = box.slices()
        cv2.copyTo(y, changed, out.y[rows, columns])
        changed_blocks = _half_size(
            changed
        )  # non-zero (at least 255 / 4) if any of a block's four pixels changed
        half = slice(rows.start // 2, rows.stop // 2), slice(columns.start // 2, columns.stop // 2)
        for plane, channel in ((out.u, u), (out.v, v)):
            cv2.copyTo(_half_size(np.asarray(channel, np.uint8)), changed_blocks, plane[half])
        return out
