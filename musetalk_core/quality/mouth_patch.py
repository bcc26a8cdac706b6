"""
The surroundings of a mouth in source and output, resampled to one size and aligned to the face.

Lengths are in H, the face height (`face_height`). Both pictures are resampled with the same transformation,
so that head motion and errors of the mesh cancel in comparisons.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from musetalk_core.faces.mesh_topology import (
    LEFT_EYE_OUTER,
    LEFT_MOUTH_CORNER,
    LOWER_LIP_INNER,
    LOWER_LIP_OUTER,
    NOSE_BASE,
    OVAL,
    RIGHT_EYE_OUTER,
    RIGHT_MOUTH_CORNER,
    UPPER_LIP_INNER,
    UPPER_LIP_OUTER,
    face_height,
)
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Box, Float, Image, Mask

PATCH_PX: Final = 192
"""Side of a patch in pixels."""
PATCH_SIDE_H: Final = 1.1
"""Side of a patch in face heights."""
PX_PER_H: Final = PATCH_PX / PATCH_SIDE_H
"""Patch pixels per face height."""
_CENTRE_BELOW_NOSE_H: Final = 0.17
_CHEEKBONES: Final = (50, 280)
"""Mesh points on skin that no lip-sync engine changes."""
_CHEEK_RADIUS_H, _BORDER_MARGIN_H, _LIP_MARGIN_H = 0.06, 0.03, 0.03

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class FaceMarks:
    """
    The parts of a mesh that measurements use, in one coordinate system.

    Attributes:
        lips:    (22, 2) float32, outline of the lips, closed.
        opening: (22, 2) float32, outline of the mouth opening, closed.
        corners: (2, 2) float32, left and right corner of the mouth.
        oval:    (36, 2) float32, outline of the face.
        cheeks:  (2, 2) float32, cheekbones.
        nose:    (2,) float32, base of the nose.
    """

    lips: Float
    opening: Float
    corners: Float
    oval: Float
    cheeks: Float
    nose: Float

    @classmethod
    def from_mesh(cls, mesh: Float) -> "FaceMarks":
        """Select the parts of a (468, 2) mesh."""
        return cls(
            np.concatenate([mesh[UPPER_LIP_OUTER], mesh[LOWER_LIP_OUTER][::-1]]),
            np.concatenate([mesh[UPPER_LIP_INNER], mesh[LOWER_LIP_INNER][::-1]]),
            mesh[[LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER]],
            mesh[OVAL],
            mesh[list(_CHEEKBONES)],
            mesh[NOSE_BASE],
        )


@dataclass(frozen=True, slots=True, eq=False)
class MouthPatch:
    """
    The mouth of one frame.

    Attributes:
        source, output:             (P, P, 3) float32 BGR levels.
        source_luma, output_luma:   (P, P) float32 levels.
        source_marks, output_marks: parts of the face in patch pixels.
        skin:                       (P, P) bool, skin around the lips that the renderer may change.
        cheeks:                     (P, P) bool, skin that it does not change.
    """

    source: Float
    output: Float
    source_luma: Float
    output_luma: Float
    source_marks: FaceMarks
    output_marks: FaceMarks
    skin: Bools
    cheeks: Bools


def cut_patch(
    source: Picture, output: Picture, source_mesh: Float, output_mesh: Float, changed: Box
) -> MouthPatch:
    """
    Cut the mouth out of a source frame and its output frame.

    Args:
        source:      the source frame.
        output:      the output frame, of the same size.
        source_mesh: (468, 2) float32 pixels.
        output_mesh: (468, 2) float32 pixels.
        changed:     box that contains all changed pixels.
    """
    transform = patch_transform(source_mesh)
    source_marks, output_marks = (
        FaceMarks.from_mesh(cv2.transform(mesh[None], transform)[0]) for mesh in (source_mesh, output_mesh)
    )
    left, top, right, bottom = changed.x1, changed.y1, changed.x2, changed.y2
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    inside = fill(cv2.transform(corners[None], transform)[0])
    inside = erode(inside, _BORDER_MARGIN_H * PX_PER_H)
    lips = dilate(fill(source_marks.lips) | fill(output_marks.lips), _LIP_MARGIN_H * PX_PER_H)
    face = fill(source_marks.oval) & fill(output_marks.oval)
    skin = (inside > 0) & (face > 0) & (lips == 0)
    skin[: max(0, int(source_marks.nose[1]))] = False
    cheeks = np.zeros((PATCH_PX, PATCH_PX), np.uint8)
    for x, y in source_marks.cheeks:
        cv2.circle(cheeks, (round(float(x)), round(float(y))), round(_CHEEK_RADIUS_H * PX_PER_H), 255, -1)
    source_bgr, output_bgr = (_resample(picture, transform) for picture in (source, output))
    return MouthPatch(
        source_bgr,
        output_bgr,
        np.asarray(cv2.cvtColor(source_bgr, cv2.COLOR_BGR2GRAY), np.float32),
        np.asarray(cv2.cvtColor(output_bgr, cv2.COLOR_BGR2GRAY), np.float32),
        source_marks,
        output_marks,
        skin,
        (cheeks & face) > 0,
    )


def patch_transform(mesh: Float) -> Float:
    """Return the (2, 3) float32 transformation from pixels of the frame to those of the patch."""
    along = mesh[RIGHT_EYE_OUTER] - mesh[LEFT_EYE_OUTER]
    along = along / max(float(np.hypot(*along)), 1e-6)
    axes = np.array([along, [-along[1], along[0]]], np.float32)
    centre = mesh[NOSE_BASE] + axes[1] * (_CENTRE_BELOW_NOSE_H * face_height(mesh))
    linear = axes * (PX_PER_H / max(face_height(mesh), 1.0))
    return np.column_stack([linear, PATCH_PX / 2 - linear @ centre]).astype(np.float32)


def _resample(picture: Picture, transform: Float) -> Float:
    """Return the (P, P, 3) float32 patch; frames with more pixels are averaged first, against aliasing."""
    back = cv2.invertAffineTransform(transform)
    corners = cv2.transform(
        np.array([[[0, 0], [PATCH_PX, 0], [0, PATCH_PX], [PATCH_PX, PATCH_PX]]], np.float32), back
    )[0]
    low, high = np.floor(corners.min(0)) - 2, np.ceil(corners.max(0)) + 2
    area = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).align_even()
    crop: Image = picture.crop(area)
    scale = 1 / max(1.0, float(np.hypot(*back[:, 0])))
    if scale < 1:
        crop = np.asarray(cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    moved = np.array(back, np.float32)
    moved[:, 2] -= (area.x1, area.y1)
    # pixel centres: the resized crop's pixel k covers (k .. k + 1) / scale
    moved[:, 2] = (moved[:, 2] + 0.5) * scale - 0.5
    moved[:, :2] *= scale
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(crop, moved, (PATCH_PX, PATCH_PX), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.float32)


def fill(polygon: Float, size: tuple[int, int] = (PATCH_PX, PATCH_PX)) -> Mask:
    """Return a (h, w) mask with 255 inside a polygon of (N, 2) points; `size` is (w, h)."""
    mask = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(mask, [np.round(polygon).astype(np.int32)], 255)
    return mask


def dilate(mask: Mask, radius: float) -> Mask:
    """Return a mask grown by `radius` pixels. The time does not depend on the radius."""
    return np.asarray((_distance_to(mask) <= radius) * np.uint8(255), np.uint8)


def erode(mask: Mask, radius: float) -> Mask:
    """Return a mask shrunk by `radius` pixels; what is beyond the picture counts as outside."""
    padded = np.pad(mask, 1)
    inside = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    return np.asarray((inside > radius) * np.uint8(255), np.uint8)


def ring(mask: Mask, near: float, far: float) -> Bools:
    """Return the pixels that are farther than `near` pixels from a mask, up to `far`."""
    distance = _distance_to(mask)
    return np.asarray((distance > near) & (distance <= far), np.bool_)


def _distance_to(mask: Mask) -> Float:
    outside = cv2.distanceTransform(cv2.bitwise_not(mask), cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.asarray(outside, np.float32)
