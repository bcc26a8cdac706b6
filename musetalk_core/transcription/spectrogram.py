"""Log-mel spectrogram for Whisper, window by window; equal to openai-whisper's of the whole sound."""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from whisper.audio import log_mel_spectrogram

from musetalk_core.formats.pcm import Samples

FRAME_SAMPLES: Final = 160
"""Samples per frame: 10 ms at 16 kHz."""
FRAMES_PER_S: Final = 100
WINDOW_FRAMES: Final = 3000
"""Frames of the model's input: 30 s."""
_MARGIN_FRAMES: Final = 3
"""Frames on either side whose samples the Fourier transforms of the outermost frames include."""
_DYNAMIC_RANGE: Final = 8.0 / 4.0
"""Dynamic range: values are clamped this far below the maximum (80 dB in the scaled units)."""


class Spectrogram:
    """
    Log-mel spectrogram of sound of any length; one window is in memory at a time.

    openai-whisper clamps values to 80 dB below the maximum of the whole sound; a first pass finds it.
    """

    def __init__(self, samples: Samples, mels: int, check: Callable[[], None] = lambda: None) -> None:
        """
        Read the whole sound once to find its maximum.

        Args:
            samples: the sound, 16 kHz mono.
            mels:    number of mel bands: 80, or 128 for large-v3.
            check:   called after every 30 s; it may raise to abort the pass.
        """
        self._samples, self._mels = samples, mels
        self.frames = samples.count // FRAME_SAMPLES
        """Number of whole frames of 10 ms."""
        peaks: list[float] = []
        for start in range(0, self.frames, WINDOW_FRAMES):
            peaks.append(float(self._log_mel(start, min(start + WINDOW_FRAMES, self.frames)).max()))
            check()
        self._floor = max(peaks, default=0.0) - _DYNAMIC_RANGE

    def window(self, start: int, stop: int) -> torch.Tensor:
        """Return (mels, stop - start) float32 for frames within 0..frames; at most 3000 frames."""
        return self._log_mel(start, stop).clamp(min=self._floor)

    def _log_mel(self, start: int, stop: int) -> torch.Tensor:
        """Return the window as the library clamps it: 80 dB below the window's own maximum."""
        before = min(start, _MARGIN_FRAMES)  # at frame 0 the transform reflects the sound
        first, last = (start - before) * FRAME_SAMPLES, (stop + _MARGIN_FRAMES) * FRAME_SAMPLES
        sound = np.ascontiguousarray(self._samples.read(first, last))
        return log_mel_spectrogram(sound, self._mels)[:, before : before + stop - start]
