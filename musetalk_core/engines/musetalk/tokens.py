"""Audio tokens of output frames: windows of Whisper encoder states with sinusoidal positional encoding."""

from functools import lru_cache
from typing import Final, Protocol

import numpy as np

from musetalk_core.engines.musetalk.windows import ZERO_ROW
from musetalk_core.types import Float, Ints

STATES_PER_ROW: Final = 5
STATE_WIDTH: Final = 384
_MAX_WAVELENGTH: Final = 10_000.0


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
        rows:           (B, W) int64 row numbers, see `audio_windows`; -1 is a row of zeros.
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
