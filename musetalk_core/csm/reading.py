"""Generation of one sentence with CSM: frame limit, checks of the result, and retries with other seeds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from musetalk_core.csm.model import FRAME_S, RATE_HZ, Csm, Sampling, Spoken, Turn
from musetalk_core.errors import EngineError
from musetalk_core.speech.tidy import levelled, without_ends
from musetalk_core.types import Float

READING_VERSION: Final = "1"
"""Version of this module in the cache keys of spoken sentences."""
TRIES: Final = 4
_CHARS_PER_S: Final = 15.0
"""Characters per second of unhurried English."""
_SLOWEST: Final = 0.5
"""A sentence that takes more than twice its expected time plus one second is assumed never to end."""
_QUICKEST: Final = 3.5
"""A sentence that takes less than 2/7 of its expected time is assumed to be incomplete."""
_LEAST_FRAMES: Final = 15


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """
    A generated sentence after trimming and loudness normalization.

    Attributes:
        samples:  (S,) float32 at 24 kHz, mono, without noise at its ends, at `TARGET_LUFS`.
        attempts: number of generations.
        warning:  what is wrong with the result, in words; empty if nothing is.
    """

    samples: Float
    tries: int
    doubt: str


def longest_text(longest_s: float) -> int:
    """Return the number of characters that are certain to fit into a duration, spoken slowly; at least 20."""
    return max(20, int((longest_s - 1) * _CHARS_PER_S * 0.85))


def budget(text: str, longest_s: float) -> int:
    """
    Return the maximum number of frames for a text.

    Twice the expected duration plus one second, at most `max_duration_s` seconds, at least 15 frames.
    """
    seconds = min(longest_s, 1 + len(text) / (_CHARS_PER_S * _SLOWEST))
    return max(_LEAST_FRAMES, math.floor(seconds / FRAME_S))


def read(
    voice: Csm,
    text: str,
    context: Sequence[Turn],
    *,
    longest_s: float,
    sampling: Sampling,
    seed: int,
    on_frame: Callable[[int], None] = lambda _: None,
) -> Reading:
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
    frames = budget(text, longest_s)
    kept = voice.fitting(context, text, frames)
    made: list[tuple[int, Spoken]] = []
    for number in range(TRIES):
        spoken = voice.say(text, kept, frames, sampling, seed + number, on_frame)
        made.append((_faults(spoken, text), spoken))
        if made[-1][0] == 0 or sampling.temperature == 0:  # without sampling every attempt is the same
            break
    faults, best = min(made, key=lambda one: one[0])
    if not len(best.samples):
        raise EngineError(f"The speech model made no sound for {text[:60]!r} in {len(made)} attempts.")
    return Reading(
        levelled(without_ends(best.samples, RATE_HZ), RATE_HZ), tries=len(made), doubt=_DOUBTS[faults]
    )


_DOUBTS: Final = ("", "it is shorter than expected for its text", "it did not end in time and was cut off")


def _faults(spoken: Spoken, text: str) -> int:
    """Rank a generation: 0 good, 1 too short, 2 without an end, 3 empty."""
    seconds = len(spoken.samples) / RATE_HZ
    if not seconds:
        return 3
    if not spoken.ended:
        return 2
    return int(seconds < len(text) / (_CHARS_PER_S * _QUICKEST))
