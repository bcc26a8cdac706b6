"""How many rows Whisper's encoder gives for speech of some length: 50 a second, in whole numbers."""

from typing import Final

from musetalk_core.types import SPEECH_RATE_HZ

ROWS_PER_S: Final = 50
ROW_SAMPLES: Final = SPEECH_RATE_HZ // ROWS_PER_S


def row_count(samples: int) -> int:
    """L, the number of encoder rows that S samples fill: floor(S * 50 / 16000), exactly."""
    return samples // ROW_SAMPLES
