"""Add the mark to sound, block by block: gains of ±0.8 dB in the bands of a short-time spectrum."""

import wave
from pathlib import Path
from typing import Final

import numpy as np

from musetalk_core.errors import InputError
from musetalk_core.formats.atomic_files import replace_atomically
from musetalk_core.imperceptible_mark.key import MarkKey
from musetalk_core.imperceptible_mark.sound_pattern import (
    HOPS_PER_S,
    HOPS_PER_SLOT,
    SLOTS,
    band_of_bins,
    signs,
)
from musetalk_core.types import Float

GAIN_DB: Final = 0.8
_MIN_RATE_HZ: Final = 8000
_BLOCK_HOPS: Final = 1000


class SoundMarker:
    """
    Adds the mark of a key to mono sound that comes in blocks.

        marked = [marker.add(block) for block in blocks] + [marker.finish()]

    The parts together have as many samples as the blocks. The size of the blocks does not change them.
    """

    def __init__(self, key: MarkKey, rate_hz: int) -> None:
        """
        Prepare the gains.

        Raises:
            InputError: the sample rate is below 8 kHz or not a multiple of 100 Hz.
        """
        if rate_hz < _MIN_RATE_HZ or rate_hz % HOPS_PER_S:
            raise InputError(f"Sound at {rate_hz} Hz cannot be marked: use 16, 24, 44.1 or 48 kHz.")
        self._hop = rate_hz // HOPS_PER_S
        window = 2 * self._hop
        # The root of a Hann window at both ends: without gains, overlapping windows add up to the input.
        phase = np.arange(window) / window
        self._window = np.sin(np.pi * phase).astype(np.float32)
        bands = band_of_bins(window, rate_hz)
        gains = np.where(bands >= 0, signs(key)[:, bands], 0)
        self._gains = (10 ** (GAIN_DB / 20 * gains)).astype(np.float32)
        self._frame = 0
        self._input = np.zeros(self._hop, np.float32)
        self._overlap = np.zeros(self._hop, np.float32)
        self._owed = 0
        self._skip = self._hop

    def add(self, samples: Float) -> Float:
        """Take the next (S,) float32 samples and return those that are finished, up to 20 ms fewer."""
        self._input = np.concatenate([self._input, samples])
        self._owed += len(samples)
        return self._run()

    def finish(self) -> Float:
        """Return the rest of the marked samples."""
        self._input = np.concatenate([self._input, np.zeros(2 * self._hop, np.float32)])
        return self._run()

    def _run(self) -> Float:
        parts: list[Float] = []
        while (count := min(_BLOCK_HOPS, len(self._input) // self._hop - 1)) > 0:
            parts.append(self._process(count))
        done = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        kept = done[self._skip :][: self._owed]
        self._skip = max(0, self._skip - len(done))
        self._owed -= len(kept)
        return kept

    def _process(self, count: int) -> Float:
        """Return the next `count` finished hops."""
        hop = self._hop
        starts = hop * np.arange(count)[:, None]
        frames = self._input[starts + np.arange(2 * hop)] * self._window
        slots = (np.arange(self._frame, self._frame + count) // HOPS_PER_SLOT) % SLOTS
        spectra = np.fft.rfft(frames, axis=1) * self._gains[slots]
        marked = (np.fft.irfft(spectra, 2 * hop, axis=1) * self._window).astype(np.float32)
        out = marked[:, :hop].copy()
        out[0] += self._overlap
        out[1:] += marked[:-1, hop:]
        self._overlap = marked[-1, hop:]
        self._input = self._input[count * hop :]
        self._frame += count
        return out.reshape(-1)


def mark_wav(source: Path, target: Path, key: MarkKey) -> None:
    """
    Add the mark to a mono 16-bit WAV file. Memory use does not grow with its length.

    Args:
        source: the file to read.
        target: the .wav to write; written atomically.
        key:    the key of the mark.

    Raises:
        InputError: the file is not mono with 16 bits, or its sample rate cannot be marked.
    """
    with wave.open(str(source), "rb") as file, replace_atomically(target) as temporary:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise InputError("Only mono WAV files with 16 bits can be marked.")
        marker = SoundMarker(key, file.getframerate())
        with wave.open(str(temporary), "wb") as out:
            out.setparams(file.getparams())
            while data := file.readframes(_BLOCK_HOPS * file.getframerate() // HOPS_PER_S):
                out.writeframes(_to_pcm(marker.add(np.frombuffer(data, "<i2").astype(np.float32))))
            out.writeframes(_to_pcm(marker.finish()))


def _to_pcm(samples: Float) -> bytes:
    return np.rint(np.clip(samples, -32768, 32767)).astype("<i2").tobytes()
