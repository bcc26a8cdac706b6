"""How many frames a job has and how they are cut into chunks: exact arithmetic, no floats."""

from dataclasses import dataclass
from fractions import Fraction

from musetalk_core.errors import InputError
from musetalk_core.types import SPEECH_RATE_HZ


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of output frames, half-open: the unit of caching, retry and bounded memory."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Frames of a whole job."""

    rate: Fraction
    frames: int
    chunks: tuple[Chunk, ...]

    @property
    def duration_s(self) -> float:
        """Seconds of picture."""
        return float(self.frames / self.rate)


def plan(samples: int, rate: Fraction, chunk_s: float) -> Plan:
    """
    Cut a job into chunks.

    Args:
        samples: S, speech samples at 16 kHz; the picture gets floor(S * rate / 16000) frames, so it ends
            within one frame of the sound.
        rate:    output frames per second.
        chunk_s: wanted seconds per chunk.

    Raises:
        InputError: the speech is shorter than one frame.
    """
    frames = int(samples * rate / SPEECH_RATE_HZ)
    if frames == 0:
        raise InputError(
            f"the speech is shorter than one video frame: {samples / SPEECH_RATE_HZ:.3f} s"
            f" at {float(rate):g} fps",
            samples=samples,
        )
    size = max(1, round(chunk_s * rate))
    starts = range(0, frames, size)
    chunks = (Chunk(number, start, min(start + size, frames)) for number, start in enumerate(starts))
    return Plan(rate, frames, tuple(chunks))
