"""Generation of one sentence with CSM: frame limit, checks of the result, and retries with other seeds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from musetalk_core.errors import EngineError
from musetalk_core.speech.audio.loudness import normalize_loudness, trim_silence
from musetalk_core.speech.tts.csm.model import FRAME_S, RATE_HZ, ContextTurn, Csm, Generation, Sampling
from musetalk_core.types import Float

GENERATION_VERSION: Final = "1"
"""Version of this module in the cache keys of spoken sentences."""
MAX_ATTEMPTS: Final = 4
_CHARS_PER_S: Final = 15.0
"""Characters per second of unhurried English."""
_MIN_SPEED: Final = 0.5
"""A sentence that takes more than twice its expected time plus one second is assumed never to end."""
_MAX_SPEED: Final = 3.5
"""A sentence that takes less than 2/7 of its expected time is assumed to be incomplete."""
_MIN_FRAMES: Final = 15


@dataclass(frozen=True, slots=True, eq=False)
class SpokenSentence:
    """
    A generated sentence after trimming and loudness normalization.

    Attributes:
        samples:  (S,) float32 at 24 kHz, mono, without noise at its ends, at `TARGET_LUFS`.
        attempts: number of generations.
        warning:  what is wrong with the result, in words; empty if nothing is.
    """

    samples: Float
    attempts: int
    warning: str


def max_text_chars(max_duration_s: float) -> int:
    """Return the number of characters that are certain to fit into a duration, spoken slowly; at least 20."""
    return max(20, int((max_duration_s - 1) * _CHARS_PER_S * 0.85))


def frame_limit(text: str, max_duration_s: float) -> int:
    """
    Return the maximum number of frames for a text.

    Twice the expected duration plus one second, at most `max_duration_s` seconds, at least 15 frames.
    """
    seconds = min(max_duration_s, 1 + len(text) / (_CHARS_PER_S * _MIN_SPEED))
    return max(_MIN_FRAMES, math.floor(seconds / FRAME_S))


def generate_with_retries(
    voice: Csm,
    text: str,
    context: Sequence[ContextTurn],
    *,
    max_duration_s: float,
    sampling: Sampling,
    seed: int,
    on_frame: Callable[[int], None] = lambda _: None,
) -> SpokenSentence:
    """
    Generate a sentence; retry with another seed if the result is empty, far too short or without an end.

    Args:
        voice:          the model.
        text:           one sentence of at most `max_text_chars(max_duration_s)` characters.
        context:        the voice prompt, then previous sentences; turns that do not fit are dropped.
        max_duration_s: maximum duration of the sentence in seconds, 1 to 30.
        sampling:       sampling options; at temperature 0 there are no retries.
        seed:           seed of the first attempt; each further attempt adds 1.
        on_frame:       see `Csm.generate`.

    Returns:
        The first good attempt, otherwise the best one with a warning.

    Raises:
        EngineError: every attempt was empty.
        InputError: the voice prompt is too long for the model.
    """
    frames = frame_limit(text, max_duration_s)
    kept_turns = voice.trim_context(context, text, frames)
    ranked: list[tuple[int, Generation]] = []
    for attempt in range(MAX_ATTEMPTS):
        generation = voice.generate(text, kept_turns, frames, sampling, seed + attempt, on_frame)
        ranked.append((_fault_rank(generation, text), generation))
        if ranked[-1][0] == 0 or sampling.temperature == 0:  # without sampling every attempt is the same
            break
    rank, best = min(ranked, key=lambda one: one[0])
    if not len(best.samples):
        raise EngineError(f"The speech model made no sound for {text[:60]!r} in {len(ranked)} attempts.")
    return SpokenSentence(
        normalize_loudness(trim_silence(best.samples, RATE_HZ), RATE_HZ),
        attempts=len(ranked),
        warning=_WARNINGS[rank],
    )


_WARNINGS: Final = ("", "it is shorter than expected for its text", "it did not end in time and was cut off")


def _fault_rank(generation: Generation, text: str) -> int:
    """Rank a generation: 0 good, 1 too short, 2 without an end, 3 empty."""
    seconds = len(generation.samples) / RATE_HZ
    if not seconds:
        return 3
    if not generation.ended:
        return 2
    return int(seconds < len(text) / (_CHARS_PER_S * _MAX_SPEED))
