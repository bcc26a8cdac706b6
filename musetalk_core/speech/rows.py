"""Number of rows (time steps) of Whisper's encoder output for speech of a given length: 50 per second."""

from typing import Final

from musetalk_core.types import SPEECH_RATE_HZ

ROWS_PER_S: Final = 50
SAMPLES_PER_ROW: Final = SPEECH_RATE_HZ // ROWS_PER_S


def row_count(samples: int) -> int:
    """Return L, the number of encoder rows for S samples at 16 kHz: exactly floor(S * 50 / 16000)."""
    return samples // SAMPLES_PER_ROW
