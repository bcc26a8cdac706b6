"""OCR with PP-OCRv4 through rapidocr-onnxruntime: any orientation, with lost spaces restored."""

import os
import threading
from collections.abc import Sequence
from typing import Any, Final, cast

import cv2
import numpy as np

from musetalk_core.analysis.findings import TextLine, line_of
from musetalk_core.analysis.ordering import in_reading_order
from musetalk_core.analysis.packaged import trusted
from musetalk_core.errors import ModelNotInstalled
from musetalk_core.types import Float, Image
from musetalk_core.weights.layout import Layout

MODEL: Final = "rapidocr"
READING_VERSION: Final = "2"
"""Version of this module in the cache keys of OCR results."""
_BLANK_AT: Final = 0.01
"""
Least probability of the space class for a space.

Between two letters the network assigns most probability to the empty class and, where there is a space, much
of the rest to the space class. Measured: 0.05 still joins words, 0.001 splits them.
"""


_LEAST: Final = 0.5
_CLEAR: Final = 0.9
"""Scores of lines: RapidOCR drops lines below the first; upright text scores above the second."""
_LONGEST: Final = 2000
"""Maximum longer side of the input in pixels; RapidOCR would scale a larger one down itself, and further."""
_SLIMMEST: Final = 4
"""Maximum ratio of longer to shorter side of the input."""
_TALL: Final = 1.5
"""Ratio of height to width from which on RapidOCR treats a line as vertical and rotates it."""
_SHORT: Final = 2
_SURE: Final = 0.9
"""Least score of a line of one or two characters: stripes and stars are read as such, with lower scores."""

_Found = tuple[str, Float, float]
"""A line's text, its (4, 2) corners and its score."""


class Reader:
    """A loaded OCR model. Thread-safe: calls are serialized by a lock."""

    def __init__(self, layout: Layout) -> None:
        """
        Verify the model's files and load them.

        Raises:
            ModelNotInstalled: the package is missing.
            WeightsInvalid: a file differs from its record in the model registry.
        """
        paths = trusted(layout, MODEL)
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251  read once, when onnxruntime is imported
        try:
            from rapidocr_onnxruntime import RapidOCR
        except ImportError as error:
            raise ModelNotInstalled(
                f"Reading text requires the package rapidocr-onnxruntime ({error}); run ./run setup.",
                model=MODEL,
            ) from error
        self._engine: Any = RapidOCR(
            det_model_path=str(paths["detector"]),
            rec_model_path=str(paths["reader"]),
            cls_model_path=str(paths["direction"]),
        )
        recogniser: Any = self._engine.text_rec
        recogniser.postprocess_op = _Mending(recogniser.postprocess_op)
        self._lock = threading.Lock()

    def read(self, bgr: Image) -> list[TextLine]:
        """
        Read all lines of an image, upright, upside down or on its side, sorted by `sort_by_reading_order`.

        RapidOCR's orientation classifier turns every third long line over, so it is not used: an image that
        scores low is read again rotated by 180 degrees, and the better result is used.

        Args:
            bgr: (H, W, 3) uint8 BGR. A longer side of more than 2000 pixels is scaled down to 2000.
        """
        size = bgr.shape[1], bgr.shape[0]
        with self._lock:
            upright = self._found(bgr)
            over = self._found(np.ascontiguousarray(bgr[::-1, ::-1])) if _is_doubtful(upright) else []
        if _letters(over) > _letters(upright):
            upright = [(text, np.array(size) - corners, score) for text, corners, score in over]
        lines = (line_of(text, corners, score, size) for text, corners, score in upright)
        return in_reading_order([line for line in lines if line is not None and _is_text(line)])

    def _found(self, bgr: Image) -> list[_Found]:
        fitted, scale = _fitted(bgr)
        found, _ = self._engine(fitted, use_cls=False)
        rows = cast(list[Any], found or [])
        return [(str(t), _as_read(np.asarray(c, np.float32)) * scale, float(score)) for c, t, score in rows]


def _as_read(corners: Float) -> Float:
    """Reorder (4, 2) corners to start at the line's own top left: for a vertical line, the upper right."""
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    tall = max(sides[1], sides[3]) >= _TALL * max(sides[0], sides[2])
    return np.roll(corners, -1, axis=0) if tall else corners


def _fitted(bgr: Image) -> tuple[Image, Float]:
    """
    Scale a large image down and pad a narrow one at its last row or column, so that coordinates do not shift.

    RapidOCR enlarges its input until the shorter side has 736 pixels: 3 x 400 would become 736 x 98,000.

    Returns:
        The image to read, and the factors (x, y) that convert its coordinates to those of `bgr`.
    """
    height, width = bgr.shape[:2]
    scale = min(1.0, _LONGEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = bgr if scale == 1 else np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    least = -(-max(size) // _SLIMMEST)
    border = ((0, max(0, least - size[1])), (0, max(0, least - size[0])), (0, 0))
    return np.pad(small, border, mode="edge"), np.array([width / size[0], height / size[1]], np.float32)


def _letters(found: Sequence[_Found]) -> float:
    """Return the number of characters read, each weighted by its line's score above the minimum."""
    return sum(len(text) * max(0.0, score - _LEAST) for text, _, score in found)


def _is_doubtful(found: Sequence[_Found]) -> bool:
    """Return whether the mean score per character is below that of upright text."""
    count = sum(len(text) for text, _, _ in found)
    return bool(found) and _letters(found) < (_CLEAR - _LEAST) * count


def _is_text(line: TextLine) -> bool:
    return len(line.text) > _SHORT or (line.score or 0.0) >= _SURE


class _Mending:
    """RapidOCR's decoder, with spaces inserted where the network gives a space enough probability."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._blank: int = len(decoder.character) - 1

    def __call__(self, scores: Float, *more: Any, **options: Any) -> Any:
        """
        Restore spaces and decode.

        Args:
            scores:  (B, steps, characters) 0..1; character 0 is the empty class, the last one the space.
            more:    further arguments of the wrapped decoder.
            options: keyword arguments of the wrapped decoder.
        """
        mended = scores.copy()
        blank = mended[..., self._blank]
        blank[(scores.argmax(axis=2) == 0) & (blank > _BLANK_AT)] = 1.0
        return self._decoder(mended, *more, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)
