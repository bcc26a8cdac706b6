"""Audio tokens of output frames: windows of Whisper encoder states with sinusoidal positional encoding."""

from functools import lru_cache
from typing import Final, Protocol

import numpy as np

from musetalk_core.engines.musetalk.windows import ABSENT
from musetalk_core.types import Float, Ints

STATES: Final = 5
WIDTH: Final = 384
_LONGEST_WAVE: Final = 10_000.0


class StateRows(Protocol):
    """Encoder states, (L, 5, 384) float: an array or a reader that loads slices from a file."""

    def __getitem__(self, key: slice, /) -> Float:
        """Return rows `key.start` to `key.stop`, (n, 5, 384)."""
        ...


def tokens(states: StateRows, rows: Ints, with_positions: bool = True) -> Float:
    """
    Gather the audio tokens of output frames.

    Args:
        states:         (L, 5, 384); one slice is read, from the first needed row to the last.
        rows:           (B, W) int64 row numbers, see `audio_windows`; -1 is a row of zeros.
        with_positions: add `positional_encoding`, as the UNet requires.

    Returns:
        (B, W * 5, 384) float32: the five states of the first row, then of the second, and so on.
    """
    out = np.zeros((*rows.shape, STATES, WIDTH), np.float32)
    present = rows != ABSENT
    if present.any():
        first, last = int(rows[present].min()), int(rows[present].max())
        out[present] = states[first : last + 1][rows[present] - first]
    flat = out.reshape(len(rows), rows.shape[1] * STATES, WIDTH)
    if with_positions:
        flat += positions(flat.shape[1])
    return flat


@lru_cache(maxsize=8)
def positions(count: int = 50, width: int = WIDTH) -> Float:
    """
    Return the sinusoidal positional encoding of tokens.

    Args:
        count: number of tokens.
        width: of a token, even.

    Returns:
        (count, width) float32, sines in even and cosines in odd columns; read-only, cached.
    """
    waves = np.exp(np.arange(0, width, 2) * (-np.log(_LONGEST_WAVE) / width))
    angles = np.arange(count)[:, None] * waves
    table = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(count, width).astype(np.float32)
    table.flags.writeable = False
    return table
