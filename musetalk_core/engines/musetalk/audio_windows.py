"""
Audio tokens of output frames: windows of Whisper encoder states with sinusoidal positional encoding.

`window_rows` computes which encoder rows belong to a frame, `upstream_rows` as the original does, and
`gather_tokens` cuts the tokens from the encoder states.
"""

from fractions import Fraction
from functools import lru_cache
from math import ceil, floor
from typing import Final, Protocol

import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.formats.pcm import ROWS_PER_S
from musetalk_core.types import SPEECH_RATE_HZ, Float, Ints

ZERO_ROW: Final = -1
"""Row number of a row of zeros."""
MAX_PADDING_STEPS: Final = 10
STATES_PER_ROW: Final = 5
STATE_WIDTH: Final = 384
_MAX_WAVELENGTH: Final = 10_000.0


def window_width(left: int = 2, right: int = 2) -> int:
    """
    Return the number of encoder rows per frame; each row becomes five tokens.

    Raises:
        InputError: a padding is not in 0..10.
    """
    if not (0 <= left <= MAX_PADDING_STEPS and 0 <= right <= MAX_PADDING_STEPS):
        raise InputError(f"audio paddings must be in 0..{MAX_PADDING_STEPS}, not {left} and {right}")
    return 2 * (left + right + 1)


def window_rows(first: int, stop: int, rate: Fraction, row_count: int, left: int = 2, right: int = 2) -> Ints:
    """
    Return the encoder rows of output frames by the exact rule.

    Args:
        first:     the first output frame.
        stop:      one past the last; n = stop - first.
        rate:      output frames per second; a Fraction, so that hours do not drift.
        row_count: L, the number of encoder rows.
        left:      half the number of rows before the frame's own.
        right:     half the number of rows after the frame's own two.

    Returns:
        (n, 2 * (left + right + 1)) int64 row numbers; -1 (a row of zeros) for rows outside 0..L-1.

    Raises:
        InputError: a padding is not in 0..10, or the rate is not positive.
    """
    if rate <= 0:
        raise InputError(f"the frame rate must be positive, not {rate}")
    width = window_width(left, right)
    own_rows = np.arange(first, stop, dtype=np.int64) * (ROWS_PER_S * rate.denominator) // rate.numerator
    row_numbers = own_rows[:, None] - 2 * left + np.arange(width)
    return np.where((row_numbers >= 0) & (row_numbers < row_count), row_numbers, ZERO_ROW)


def upstream_frame_count(samples: int, fps: float, left: int = 2, right: int = 2) -> int:
    """
    Return the number of frames that the original renders for a speech, including its float rounding.

    Args:
        samples: S, at 16 kHz.
        fps:     as the original reads it from a video; only the whole part is used.
        left:    its `audio_padding_length_left`.
        right:   its `audio_padding_length_right`.

    Raises:
        InputError: the original fails on this input.
    """
    whole_fps = int(fps)
    frames = floor((samples / SPEECH_RATE_HZ) * whole_fps) if whole_fps > 0 else 0
    if frames == 0:
        raise InputError(f"the original renders no frame for {samples} samples at {fps} fps", samples=samples)
    rows = upstream_row_count(samples)
    before, after = _upstream_padding(rows, whole_fps, left, right)
    last = floor((frames - 1) * (ROWS_PER_S / whole_fps))
    if last + window_width(left, right) > before + rows + after:
        raise InputError(
            f"the original reads past the end of the audio: {samples} samples at {fps} fps", samples=samples
        )
    return frames


def upstream_row_count(samples: int) -> int:
    """Return the number of rows L that the original keeps, including its float rounding."""
    return floor((samples / SPEECH_RATE_HZ) * ROWS_PER_S)


def upstream_rows(first: int, stop: int, fps: float, row_count: int, left: int = 2, right: int = 2) -> Ints:
    """
    Return the encoder rows of output frames as the original reads them, including its float rounding.

    Args:
        first:     the first output frame.
        stop:      one past the last; n = stop - first. Frames that the original does not render are allowed.
        fps:       see `upstream_frame_count`.
        row_count: L, see `upstream_row_count`.
        left:      see `upstream_frame_count`.
        right:     see `upstream_frame_count`.

    Returns:
        (n, 2 * (left + right + 1)) int64 like `window_rows`.

    Raises:
        InputError: a padding is not in 0..10, or the rate is below 1.
    """
    if fps < 1:
        raise InputError(f"the original fails at frame rates below 1, such as {fps}")
    before, _ = _upstream_padding(row_count, int(fps), left, right)
    # parity: musetalk/utils/audio_processor.py multiplies by a float step, then rounds down
    own_rows = np.floor(np.arange(first, stop) * (ROWS_PER_S / int(fps))).astype(np.int64)
    row_numbers = own_rows[:, None] - before + np.arange(window_width(left, right))
    return np.where((row_numbers >= 0) & (row_numbers < row_count), row_numbers, ZERO_ROW)


def _upstream_padding(row_count: int, fps: int, left: int, right: int) -> tuple[int, int]:
    """Return the zero rows before and after; the original cuts them from the L rows, so at most L each."""
    unit = ceil(ROWS_PER_S / fps)
    return min(unit * left, row_count), min(unit * 3 * right, row_count)


class StateRows(Protocol):
    """Encoder states, (L, 5, 384) float: an array or a reader that loads slices from a file."""

    def __getitem__(self, key: slice, /) -> Float:
        """Return rows `key.start` to `key.stop`, (n, 5, 384)."""
        ...


def gather_tokens(states: StateRows, rows: Ints, with_positions: bool = True) -> Float:
    """
    Gather the audio tokens of output frames.

    Args:
        states:         (L, 5, 384); one slice is read, from the first needed row to the last.
        rows:           (B, W) int64 row numbers, see `window_rows`; -1 is a row of zeros.
        with_positions: add `positional_encoding`, as the UNet requires.

    Returns:
        (B, W * 5, 384) float32: the five states of the first row, then of the second, and so on.
    """
    gathered = np.zeros((*rows.shape, STATES_PER_ROW, STATE_WIDTH), np.float32)
    is_present = rows != ZERO_ROW
    if is_present.any():
        first, last = int(rows[is_present].min()), int(rows[is_present].max())
        gathered[is_present] = states[first : last + 1][rows[is_present] - first]
    token_rows = gathered.reshape(len(rows), rows.shape[1] * STATES_PER_ROW, STATE_WIDTH)
    if with_positions:
        token_rows += positional_encoding(token_rows.shape[1])
    return token_rows


@lru_cache(maxsize=8)
def positional_encoding(count: int = 50, width: int = STATE_WIDTH) -> Float:
    """
    Return the sinusoidal positional encoding of tokens.

    Args:
        count: number of tokens.
        width: of a token, even.

    Returns:
        (count, width) float32, sines in even and cosines in odd columns; read-only, cached.
    """
    frequencies = np.exp(np.arange(0, width, 2) * (-np.log(_MAX_WAVELENGTH) / width))
    angles = np.arange(count)[:, None] * frequencies
    table = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(count, width).astype(np.float32)
    table.flags.writeable = False
    return table
