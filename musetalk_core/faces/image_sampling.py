"""Small BGR views of a 4:2:0 picture: planes are resized first, so only the small view is converted."""

import cv2
import numpy as np
import numpy.typing as npt

from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box, Image


def _join_planes(y: Image, u: Image, v: Image) -> Picture:
    height, width = y.shape
    out = Picture(np.empty((height * 3 // 2, width), np.uint8))
    out.y[:], out.u[:], out.v[:] = y, u, v
    return out


def resize_area(picture: Picture, box: Box, size: tuple[int, int]) -> Image:
    """
    Resize one box of a picture, averaging source pixels.

    Args:
        picture: the frame.
        box:     even coordinates inside the picture.
        size:    (width, height) of the result, both even.

    Returns:
        (height, width, 3) uint8 BGR.
    """
    rows, columns = box.slices()
    chroma_area = slice(rows.start // 2, rows.stop // 2), slice(columns.start // 2, columns.stop // 2)
    y = cv2.resize(picture.y[rows, columns], size, interpolation=cv2.INTER_AREA)
    small = size[0] // 2, size[1] // 2
    u, v = (
        cv2.resize(np.ascontiguousarray(p[chroma_area]), small, interpolation=cv2.INTER_AREA)
        for p in (picture.u, picture.v)
    )
    return _join_planes(np.asarray(y, np.uint8), np.asarray(u, np.uint8), np.asarray(v, np.uint8)).bgr()


def crop_rotated_square(
    picture: Picture, centre: tuple[float, float], side: float, angle: float, pixels: int
) -> Image:
    """
    Crop a rotated square from a picture; edge pixels are repeated where it leaves the picture.

    Output pixel (i, j) is `(i, j) / pixels - 0.5` sides from the center, along the rotated axes.

    Args:
        picture: the frame.
        centre:  x, y in pixels.
        side:    pixels of the picture.
        angle:   radians, clockwise on screen.
        pixels:  side of the result, even.

    Returns:
        (pixels, pixels, 3) uint8 BGR.
    """
    step = side / pixels
    axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([axes * step, np.array(centre) - axes @ np.full(2, side / 2)])
    # Chroma sample k is at luma 2k + 0.5, in the source and in the result.
    chroma = np.column_stack([matrix[:, :2], (matrix[:, 2] + matrix[:, :2].sum(1) * 0.5 - 0.5) / 2])
    planes = ((picture.y, matrix, pixels), (picture.u, chroma, pixels // 2), (picture.v, chroma, pixels // 2))
    return _join_planes(*(_warp_plane(plane, m, n) for plane, m, n in planes)).bgr()


def _warp_plane(plane: Image, matrix: npt.NDArray[np.float64], pixels: int) -> Image:
    """Sample a plane at `matrix @ (x, y, 1)`; averages pixels first if the sampling would skip some."""
    corners = matrix @ np.array([[0, pixels, 0, pixels], [0, 0, pixels, pixels], [1, 1, 1, 1]], float)
    factor = int(np.hypot(*matrix[:, 0]))
    if factor >= 2:
        plane, matrix = _downsample_plane(plane, matrix, corners, factor)
    warped = cv2.warpAffine(
        plane,
        matrix,
        (pixels, pixels),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, np.uint8)


def _downsample_plane(
    plane: Image, matrix: npt.NDArray[np.float64], corners: npt.NDArray[np.float64], factor: int
) -> tuple[Image, npt.NDArray[np.float64]]:
    """Downsample the part of the plane that contains the corners by an integer factor; adapt the matrix."""
    size = np.array(plane.shape[::-1])
    low = np.clip(np.floor(corners.min(1)).astype(int) - factor, 0, np.maximum(size - factor, 0))
    high = np.clip(np.ceil(corners.max(1)).astype(int) + factor, low + factor, size)
    count = np.maximum((high - low) // factor, 1)
    x, y = low
    width, height = np.minimum(count * factor, size - low)
    downsampled = cv2.resize(
        plane[y : y + height, x : x + width],
        (int(count[0]), int(count[1])),
        interpolation=cv2.INTER_AREA,
    )
    adapted = matrix / factor
    adapted[:, 2] = (matrix[:, 2] - low - (factor - 1) / 2) / factor
    return np.asarray(downsampled, np.uint8), adapted
