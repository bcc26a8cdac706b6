"""What MuseTalk's network hears of a frame: encoder rows laid end to end, each place marked by a wave."""

from functools import lru_cache
from typing import Final, Protocol

import numpy as np

from musetalk_core.engines.musetalk.windows import ABSENT
from musetalk_core.types import Float, Ints

STATES: Final = 5
WIDTH: Final = 384
_LONGEST_WAVE: Final = 10_000.0


class StateRows(Protocol):
    """Stored encoder states, (L, 5, 384) float of any width; an array, or what reads slices from a file."""

    def __getitem__(self, key: slice, /) -> Float:
        """Rows `key.start` to `key.stop`."""
        ...


def tokens(states: StateRows, rows: Ints, with_positions: bool = True) -> Float:
    """
    Gather what some frames hear.

    Args:
        states:         (L, 5, 384); read once, from the first row that is needed to the last.
        rows:           (B, W) int64, see `windows`; -1 is a row of zeros.
        with_positions: add the table of `positions`, as the network wants it.

    Returns:
        (B, W * 5, 384) float32: the five states of the first row, of the second, and so on.
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
    Give the sinusoidal table that is added to tokens.

    Args:
        count: tokens.
        width: of a token, even.

    Returns:
        (count, width) float32, sines in even and cosines in odd columns; shared, not to be modified.
    """
    waves = np.exp(np.arange(0, width, 2) * (-np.log(_LONGEST_WAVE) / width))
    angles = np.arange(count)[:, None] * waves
    table = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(count, width).astype(np.float32)
    table.flags.writeable = False
    return table
