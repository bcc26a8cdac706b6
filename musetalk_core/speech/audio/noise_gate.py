"""Noise gate: speech with its pauses set to zero, so that noise in pauses does not move the mouth."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from musetalk_core.formats.pcm import Samples
from musetalk_core.types import SPEECH_RATE_HZ, Float

_STEP_SAMPLES: Final = SPEECH_RATE_HZ // 100
"""Samples per level value: 10 ms."""
_BLOCK_SAMPLES: Final = _STEP_SAMPLES * 3000
"""Samples read at once when levels are measured: 30 s."""
_PAUSE_BELOW_SPEECH_DB: Final = 35.0
_PAUSE_FLOOR_DB: Final = -60.0
_LOUD_PERCENTILE: Final = 95.0
"""Percentile of the levels that counts as the level of loud speech."""
_MIN_PAUSE_STEPS: Final = 30
"""Shortest pause in steps of 10 ms; shorter ones are left unchanged."""
_MARGIN_STEPS: Final = 10
"""Steps of 10 ms next to speech that are left unchanged."""


@dataclass(frozen=True, eq=False)
class NoiseGate:
    """
    A view of `Samples` whose pauses are zeros.

    A pause lasts at least 300 ms and is 35 dB below the loud parts or below -60 dBFS; the 100 ms next to
    speech are unchanged. The pause mask takes 100 bytes per second of speech.
    """

    speech: Samples
    _margin_steps: int = field(default=_MARGIN_STEPS)

    @property
    def count(self) -> int:
        """Number of samples S."""
        return self.speech.count

    def read(self, start: int, stop: int) -> Float:
        """Return (stop - start,) float32; zeros in pauses and outside 0..count."""
        samples = np.array(self.speech.read(start, stop), np.float32)
        steps = np.arange(start, stop) // _STEP_SAMPLES
        inside = (steps >= 0) & (steps < len(self.is_pause))
        samples[inside & self.is_pause[steps.clip(0, max(len(self.is_pause) - 1, 0))]] = 0
        return samples

    @cached_property
    def is_pause(self) -> npt.NDArray[np.bool_]:
        """(ceil(S / 160),) bool: whether each 10 ms belongs to a pause; measured at first use."""
        levels = self._levels_db()
        if not len(levels):
            return np.zeros(1, np.bool_)
        limit = max(_PAUSE_FLOOR_DB, float(np.percentile(levels, _LOUD_PERCENTILE)) - _PAUSE_BELOW_SPEECH_DB)
        is_quiet = levels < limit
        out = np.zeros(len(is_quiet), np.bool_)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], is_quiet, [False]]).astype(np.int8)))
        for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if last - first >= _MIN_PAUSE_STEPS:
                out[
                    first + self._margin_steps * (first > 0) : last
                    - self._margin_steps * (last < len(is_quiet))
                ] = True
        return out

    def _levels_db(self) -> npt.NDArray[np.float64]:
        """Return (ceil(S / 160),) level of each 10 ms in dBFS."""
        powers: list[npt.NDArray[np.float64]] = []
        for start in range(0, self.count, _BLOCK_SAMPLES):
            block = self.speech.read(start, min(start + _BLOCK_SAMPLES, self.count)).astype(np.float64)
            block = np.pad(block, (0, -len(block) % _STEP_SAMPLES))
            powers.append((block.reshape(-1, _STEP_SAMPLES) ** 2).mean(axis=1))
        return 10 * np.log10(np.maximum(np.concatenate(powers) if powers else np.zeros(0), 1e-12))
