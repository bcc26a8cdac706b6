"""The spectrogram that Whisper hears, window by window: what openai-whisper computes of the whole at once."""

from typing import Final

import numpy as np
import torch
from whisper.audio import log_mel_spectrogram

from musetalk_core.speech.samples import Samples

FRAME_SAMPLES: Final = 160
FRAMES_PER_S: Final = 100
WINDOW_FRAMES: Final = 3000
"""30 s: what the model takes at once."""
_MARGIN: Final = 3
"""Frames on either side whose samples the outermost transforms reach into."""
_RANGE: Final = 8.0 / 4.0
"""What lies this far below the loudest is cut off (80 dB in the scaled units)."""


class Spectrogram:
    """
    Log-mel spectrogram of sound of any length; one window of it is in memory at a time.

    openai-whisper cuts off what lies 80 dB below the loudest of the whole sound: a first pass looks for that.
    """

    def __init__(self, samples: Samples, mels: int) -> None:
        """
        Read the sound once.

        Args:
            samples: the sound.
            mels:    bands: 80, or 128 for the newest large model.
        """
        self._samples, self._mels = samples, mels
        self.frames = samples.count // FRAME_SAMPLES
        """Whole frames of 10 ms."""
        peaks = [
            float(self._raw(start, min(start + WINDOW_FRAMES, self.frames)).max())
            for start in range(0, self.frames, WINDOW_FRAMES)
        ]
        self._floor = max(peaks, default=0.0) - _RANGE

    def window(self, start: int, stop: int) -> torch.Tensor:
        """(mels, stop - start) float32; `stop - start` is at most 3000, both lie in 0..frames."""
        return self._raw(start, stop).clamp(min=self._floor)

    def _raw(self, start: int, stop: int) -> torch.Tensor:
        """The same, cut off by its own loudest part: never above the floor of the whole."""
        before = min(start, _MARGIN)  # the transform mirrors the very beginning, as it does for the whole
        first, last = (start - before) * FRAME_SAMPLES, (stop + _MARGIN) * FRAME_SAMPLES
        sound = np.ascontiguousarray(self._samples.read(first, last))
        return log_mel_spectrogram(sound, self._mels)[:, before : before + stop - start]
