"""Measure while decoding whether sound is silent or overdriven."""

import json
from pathlib import Path
from typing import Final

import numpy as np

from musetalk_core.types import Float
from musetalk_core.warning_codes import WarningCode

_SILENT_PEAK: Final = 10 ** (-60 / 20)
_FULL_SCALE: Final = 0.999
_CLIPPED_SHARE: Final = 0.0005
"""Share of samples in runs of three at full scale from which the sound counts as overdriven."""


class LevelMeter:
    """The peak and the overdriven samples of a sound, block by block."""

    def __init__(self) -> None:
        self.peak, self.samples, self.clipped_samples = 0.0, 0, 0

    def add(self, block: Float) -> None:
        """Measure a (C, S) block."""
        level = np.abs(block)
        self.peak = max(self.peak, float(level.max(initial=0)))
        self.samples += block.size
        is_full = level >= _FULL_SCALE
        self.clipped_samples += 3 * int((is_full[:, :-2] & is_full[:, 1:-1] & is_full[:, 2:]).sum())

    def warnings(self) -> tuple[str, ...]:
        """Return the warnings about the level of the sound."""
        if self.peak < _SILENT_PEAK:
            return (WarningCode.SILENT_SOUND("the sound is silent; check the recording or its sound track"),)
        share = min(1.0, self.clipped_samples / max(1, self.samples))
        if share > _CLIPPED_SHARE:
            return (
                WarningCode.CLIPPED_SOUND(
                    f"{share:.1%} of the sound is overdriven; record it at a lower level"
                ),
            )
        return ()

    def save(self, path: Path) -> None:
        """Write the warnings as JSON."""
        path.write_text(json.dumps(self.warnings()))


def load_level_warnings(path: Path) -> tuple[str, ...]:
    """Return the warnings that `LevelMeter.save` wrote."""
    return tuple(json.loads(path.read_text()))
