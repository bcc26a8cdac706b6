"""Text in pictures with the starter reader: PP-OCRv4 through rapidocr-onnxruntime, its lost blanks mended."""

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
"""Part of the cache keys of what was read."""
_BLANK_AT: Final = 0.01
"""
Between two letters the network gives most of its trust to its empty class, and much of the rest to a blank
where there is one. From this much on it counts as a blank: .05 still joins words, .001 cuts them (measured).
"""


_LEAST: Final = 0.5
_CLEAR: Final = 0.9
"""Scores of lines: the reader drops what is below the one; text the right way up lies above the other."""
_LONGEST: Final = 2000
"""Pixels of the longer side of what the reader is given at most; it would shrink more by itself."""
_SLIMMEST: Final = 4
"""Longer over shorter side of what the reader is given at most."""
_TALL: Final = 1.5
"""Height over width from which on the reader takes a line to run downwards, and turns it."""
_SHORT: Final = 2
_SURE: Final = 0.9
"""Stripes and stars are read as one or two letters now and then, never with so much trust."""

_Found = tuple[str, Float, float]
"""A line's text, its (4, 2) corners and its score."""


class Reader:
    """The loaded reader. Safe to use from several threads, one at a time."""

    def __init__(self, layout: Layout) -> None:
        """
        Check the model's files and load them.

        Raises:
            ModelNotInstalled: the package is missing.
            WeightsInvalid: a file is not what it should be.
        """
        paths = trusted(layout, MODEL)
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251  before onnxruntime is imported
        try:
            from rapidocr_onnxruntime import RapidOCR
        except ImportError as error:
            raise ModelNotInstalled(
                f"Reading text needs the package rapidocr-onnxruntime ({error}); run ./run setup.",
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
        Read all lines of a picture, as `in_reading_order`; one that is upside down or on its side, too.

        The reader's own guess which way up a line is turns every third long line over, so it is not used:
        what reads badly is read again the other way up, and the better reading counts.

        Args:
            bgr: (H, W, 3) uint8 BGR. What is longer than 2000 pixels is read at that size.
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
    """Begin at the line's own top left: of a line that was read downwards, that is the upper right."""
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    tall = max(sides[1], sides[3]) >= _TALL * max(sides[0], sides[2])
    return np.roll(corners, -1, axis=0) if tall else corners


def _fitted(bgr: Image) -> tuple[Image, Float]:
    """
    Shrink what is long and widen what is narrow, by its last row or column: places stay where they are.

    The reader enlarges what it gets until the shorter side has 736 pixels: 3 x 400 would become 736 x 98,000.

    Returns:
        The picture to read, and by what (x, y) to multiply places in it.
    """
    height, width = bgr.shape[:2]
    scale = min(1.0, _LONGEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = bgr if scale == 1 else np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    least = -(-max(size) // _SLIMMEST)
    border = ((0, max(0, least - size[1])), (0, max(0, least - size[0])), (0, 0))
    return np.pad(small, border, mode="edge"), np.array([width / size[0], height / size[1]], np.float32)


def _letters(found: Sequence[_Found]) -> float:
    """Count the letters that were read, each as much as it is trusted beyond the least that counts at all."""
    return sum(len(text) * max(0.0, score - _LEAST) for text, _, score in found)


def _is_doubtful(found: Sequence[_Found]) -> bool:
    count = sum(len(text) for text, _, _ in found)
    return bool(found) and _letters(found) < (_CLEAR - _LEAST) * count


def _is_text(line: TextLine) -> bool:
    return len(line.text) > _SHORT or (line.score or 0.0) >= _SURE


class _Mending:
    """The reader's own decoder, with blanks where the network nearly saw one."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._blank: int = len(decoder.character) - 1

    def __call__(self, scores: Float, *more: Any, **options: Any) -> Any:
        """
        Decode.

        Args:
            scores:  (B, steps, characters) 0..1; character 0 is the empty class, the last one the blank.
            more:    as the decoder takes them.
            options: as the decoder takes them.
        """
        mended = scores.copy()
        blank = mended[..., self._blank]
        blank[(scores.argmax(axis=2) == 0) & (blank > _BLANK_AT)] = 1.0
        return self._decoder(mended, *more, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)
