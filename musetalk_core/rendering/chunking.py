"""Split a job's output frames into chunks, in exact integer and fraction arithmetic."""

from dataclasses import dataclass
from fractions import Fraction

from musetalk_core.errors import InputError
from musetalk_core.types import SPEECH_RATE_HZ


@dataclass(frozen=True, slots=True)
class Chunk:
    """A half-open range of output frames: the unit of caching, of retries and of memory use."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """
    The chunks of a whole job.

    Attributes:
        rate:   output frames per second.
        frames: number of output frames.
        chunks: in order, without gaps.
    """

    rate: Fraction
    frames: int
    chunks: tuple[Chunk, ...]

    @property
    def duration_s(self) -> float:
        """Length of the video in seconds."""
        return float(self.frames / self.rate)


def plan_chunks(samples: int, rate: Fraction, chunk_s: float) -> ChunkPlan:
    """
    Split a job into chunks.

    Args:
        samples: S, speech samples at 16 kHz. The video gets floor(S * rate / 16000) frames, so it ends within
            one frame of the audio.
        rate:    output frames per second.
        chunk_s: target length of a chunk in seconds.

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
    frames_per_chunk = max(1, round(chunk_s * rate))
    starts = range(0, frames, frames_per_chunk)
    chunks = (
        Chunk(number, start, min(start + frames_per_chunk, frames)) for number, start in enumerate(starts)
    )
    return ChunkPlan(rate, frames, tuple(chunks))
