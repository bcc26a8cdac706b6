"""OCR with PP-OCRv6 through rapidocr: any orientation."""

import os
import threading
from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np

from musetalk_core.errors import ModelNotInstalled
from musetalk_core.installation import setup_command
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.types import Float, Image
from musetalk_core.vision.findings import TextLine, make_text_line
from musetalk_core.vision.reading_order import sort_by_reading_order
from musetalk_core.vision.verified_files import verify_bundled

MODEL_NAME: Final = "rapidocr"
OCR_VERSION: Final = "3"
"""Version of this module in the cache keys of OCR results."""
_MIN_SCORE: Final = 0.5
_CLEAR_SCORE: Final = 0.9
"""Scores of lines: RapidOCR drops lines below the first; upright text scores above the second."""
_MAX_SIDE_PX: Final = 2000
"""Maximum longer side of the input in pixels; RapidOCR would scale a larger one down itself, and further."""
_MAX_ASPECT_RATIO: Final = 4
"""Maximum ratio of longer to shorter side of the input."""
_VERTICAL_ASPECT_RATIO: Final = 1.5
"""Ratio of height to width from which on RapidOCR treats a line as vertical and rotates it."""
_SHORT_TEXT_CHARS: Final = 2
_MIN_SHORT_TEXT_SCORE: Final = 0.9
"""Least score of a line of one or two characters: stripes and stars are read as such, with lower scores."""

_OcrLine = tuple[str, Float, float]
"""A line's text, its (4, 2) corners and its score."""


class OcrReader:
    """A loaded OCR model. Thread-safe: calls are serialized by a lock."""

    def __init__(self, layout: LocalModels, threads: int = -1) -> None:
        """
        Verify the model's files and load them.

        Args:
            layout:  where the model's files are.
            threads: of one inference; -1: one per physical core.

        Raises:
            ModelNotInstalled: the package is missing.
            WeightsInvalid: a file differs from its record in the model registry.
        """
        paths = verify_bundled(layout, MODEL_NAME)
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251  read once, when onnxruntime is imported
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise ModelNotInstalled(
                f"Reading text requires the package rapidocr ({error}). Run: {setup_command()}",
                model=MODEL_NAME,
            ) from error
        engine: Any = RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.use_cls": False,  # `read` says why
                "Global.text_score": _MIN_SCORE,
                "Global.max_side_len": _MAX_SIDE_PX,
                "Det.model_path": str(paths["detector"]),
                "Rec.model_path": str(paths["reader"]),
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            }
        )
        # RapidOCR loads a network at its first use, long after the files were verified
        engine._load_det_model()
        engine._load_rec_model()
        self._engine = engine
        self._lock = threading.Lock()

    def read(self, bgr: Image) -> list[TextLine]:
        """
        Read all lines of an image, upright, upside down or on its side, sorted by `sort_by_reading_order`.

        RapidOCR's orientation classifier is not used, because it wrongly rotates every third long line by 180
        degrees. Instead, an image that scores low is read again upside down, and the better result is used.

        Args:
            bgr: (H, W, 3) uint8 BGR. A longer side of more than 2000 pixels is scaled down to 2000.
        """
        size = bgr.shape[1], bgr.shape[0]
        with self._lock:
            found_lines = self._run_ocr(bgr)
            rotated = (
                self._run_ocr(np.ascontiguousarray(bgr[::-1, ::-1])) if _is_doubtful(found_lines) else []
            )
        if _weighted_letters(rotated) > _weighted_letters(found_lines):
            found_lines = [(text, np.array(size) - corners, score) for text, corners, score in rotated]
        lines = (make_text_line(text, corners, score, size) for text, corners, score in found_lines)
        return sort_by_reading_order([line for line in lines if line is not None and _is_text(line)])

    def _run_ocr(self, bgr: Image) -> list[_OcrLine]:
        fitted, scale = _fit_to_reader(bgr)
        found = self._engine(fitted)
        if found.txts is None:
            return []
        return [
            (str(text), _orient_corners(np.asarray(corners, np.float32)) * scale, float(score))
            for text, corners, score in zip(found.txts, found.boxes, found.scores, strict=True)
        ]


def _orient_corners(corners: Float) -> Float:
    """Reorder (4, 2) corners to start at the line's own top left: for a vertical line, the upper right."""
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    is_vertical = max(sides[1], sides[3]) >= _VERTICAL_ASPECT_RATIO * max(sides[0], sides[2])
    return np.roll(corners, -1, axis=0) if is_vertical else corners


def _fit_to_reader(bgr: Image) -> tuple[Image, Float]:
    """
    Scale a large image down and pad a narrow one at its last row or column, so that coordinates do not shift.

    RapidOCR enlarges its input until the shorter side has 736 pixels: 3 x 400 would become 736 x 98,000.

    Returns:
        The image to read, and the factors (x, y) that convert its coordinates to those of `bgr`.
    """
    height, width = bgr.shape[:2]
    scale = min(1.0, _MAX_SIDE_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = bgr if scale == 1 else np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    min_side = -(-max(size) // _MAX_ASPECT_RATIO)
    border = ((0, max(0, min_side - size[1])), (0, max(0, min_side - size[0])), (0, 0))
    return np.pad(small, border, mode="edge"), np.array([width / size[0], height / size[1]], np.float32)


def _weighted_letters(lines: Sequence[_OcrLine]) -> float:
    """Return the number of characters read, each weighted by its line's score above the minimum."""
    return sum(len(text) * max(0.0, score - _MIN_SCORE) for text, _, score in lines)


def _is_doubtful(lines: Sequence[_OcrLine]) -> bool:
    """Return whether the mean score per character is below that of upright text."""
    count = sum(len(text) for text, _, _ in lines)
    return bool(lines) and _weighted_letters(lines) < (_CLEAR_SCORE - _MIN_SCORE) * count


def _is_text(line: TextLine) -> bool:
    return len(line.text) > _SHORT_TEXT_CHARS or (line.score or 0.0) >= _MIN_SHORT_TEXT_SCORE
