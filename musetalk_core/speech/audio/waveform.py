"""Waveform image of a WAV file, which shows at a glance whether there is speech and where it pauses."""

import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from musetalk_core.types import Image

_BACKGROUND_BGR, _WAVE_BGR, _MARK_BGR = (250, 248, 246), (150, 90, 40), (205, 200, 196)
_BLOCK_FRAMES: Final = 1 << 18


def draw_waveform(path: Path, marks_s: Sequence[float] = (), width: int = 960, height: int = 120) -> Image:
    """
    Draw the waveform of a sound: lowest and highest value per column. Memory is independent of the length.

    Args:
        path:    mono 16-bit WAV file.
        marks_s: times, in seconds, to mark by a vertical line, such as starts of sentences.
        width:   width of the image in pixels.
        height:  height of the image in pixels.

    Returns:
        (height, width, 3) uint8 BGR.
    """
    with wave.open(str(path), "rb") as source:
        count, rate = max(1, source.getnframes()), source.getframerate()
        low, high = _column_extremes(source, count, width)
    picture = np.full((height, width, 3), _BACKGROUND_BGR, np.uint8)
    for mark in marks_s:
        picture[:, min(width - 1, int(mark * rate * width / count))] = _MARK_BGR
    rows = np.arange(height)[:, None]
    middle = (height - 1) / 2
    top, bottom = np.floor(middle - high * middle), np.ceil(middle - low * middle)
    picture[(rows >= top) & (rows <= bottom)] = _WAVE_BGR
    return picture


def _column_extremes(source: wave.Wave_read, count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (width,) lowest and (width,) highest value of every column, in -1..1."""
    low, high = np.zeros(width), np.zeros(width)
    start = 0
    while data := source.readframes(_BLOCK_FRAMES):
        block = np.frombuffer(data, "<i2") / 32768
        columns = (start + np.arange(len(block), dtype=np.int64)) * width // count
        np.minimum.at(low, columns, block)
        np.maximum.at(high, columns, block)
        start += len(block)
    return low, high


def encode_png(picture: Image) -> bytes:
    """Encode an (H, W, 3) uint8 BGR image as PNG."""
    import cv2

    return bytes(cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1])
