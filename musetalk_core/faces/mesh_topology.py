"""Index lists into the 468-point face mesh; left and right are the picture's, not the person's."""

from typing import Final

import numpy as np

from musetalk_core.types import Float, Ints

MESH_POINTS: Final = 468

FOREHEAD, NOSE_BASE, NOSE_TIP, CHIN = 10, 2, 4, 152
UPPER_LIP_INSIDE, LOWER_LIP_INSIDE = 13, 14
LEFT_LIP_INSIDE, RIGHT_LIP_INSIDE = 78, 308
LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER = 61, 291
LEFT_EYE_OUTER, LEFT_EYE_INNER, RIGHT_EYE_INNER, RIGHT_EYE_OUTER = 33, 133, 362, 263


def _indices(text: str) -> Ints:
    out = np.array(text.split(), np.int64)
    out.setflags(write=False)
    return out


LANDMARKS_68: Final = _indices(
    "162 234 93 58 172 136 149 148 152 377 378 365 397 288 323 454 389 "  # jaw 0..16
    "71 63 105 66 107 336 296 334 293 301 "  # brows 17..26
    "168 197 5 4 75 97 2 326 305 "  # nose 27..35
    "33 160 158 133 153 144 362 385 387 263 373 380 "  # eyes 36..47
    "61 39 37 0 267 269 291 405 314 17 84 181 "  # outer lips 48..59
    "78 82 13 312 308 317 14 87"  # inner lips 60..67
)
"""The iBUG 68 points in order. The jaw follows the mesh's outline, not iBUG's definition."""

OVAL: Final = _indices(
    "10 338 297 332 284 251 389 356 454 323 361 288 397 365 379 378 400 377 152 148 176 149 150 136 172 58 "
    "132 93 234 127 162 21 54 103 67 109"
)
"""Outline of the face, closed, clockwise from the forehead."""

UPPER_LIP_OUTER: Final = _indices("61 185 40 39 37 0 267 269 270 409 291")
LOWER_LIP_OUTER: Final = _indices("61 146 91 181 84 17 314 405 321 375 291")
UPPER_LIP_INNER: Final = _indices("78 191 80 81 82 13 312 311 310 415 308")
LOWER_LIP_INNER: Final = _indices("78 95 88 178 87 14 317 402 318 324 308")
"""Lip edges from the left to the right corner of the mouth, 11 points each."""

LEFT_EYE_UPPER: Final = _indices("33 246 161 160 159 158 157 173 133")
LEFT_EYE_LOWER: Final = _indices("33 7 163 144 145 153 154 155 133")
RIGHT_EYE_UPPER: Final = _indices("362 398 384 385 386 387 388 466 263")
RIGHT_EYE_LOWER: Final = _indices("362 382 381 380 374 373 390 249 263")
"""Eyelid edges from left to right, 9 points each."""


def face_height(landmarks: Float) -> float:
    """
    Return H, the length unit of the mouth: 1.6 x the distance from forehead to nose base.

    The chin is not used because it moves with the jaw.

    Args:
        landmarks: (468, 2) float32, mesh in pixels.

    Returns:
        Pixels.
    """
    return float(1.6 * np.linalg.norm(landmarks[FOREHEAD] - landmarks[NOSE_BASE]))
