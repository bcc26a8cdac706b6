"""Reading one sentence with CSM so that it can be trusted: a budget, and more tries when one went wrong."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from musetalk_core.csm.model import FRAME_S, RATE_HZ, Csm, Sampling, Spoken, Turn
from musetalk_core.errors import EngineError
from musetalk_core.speech.tidy import levelled, without_ends
from musetalk_core.types import Float

READING_VERSION: Final = "1"
"""Part of the cache keys of spoken sentences."""
TRIES: Final = 4
_CHARS_PER_S: Final = 15.0
"""Of unhurried English."""
_SLOWEST: Final = 0.5
"""A sentence that takes more than twice its time, and a second, does not end any more."""
_QUICKEST: Final = 3.5
"""One that takes less than 2/7 of its time is not all there."""
_LEAST_FRAMES: Final = 15


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """
    A sentence as it was read.

    Attributes:
        samples: (S,) float32 at 24 kHz, without noise at its ends, at `TARGET_LUFS`.
        tries:   how many it took.
        doubt:   what is wrong with it even so, in words; empty when nothing is.
    """

    samples: Float
    tries: int
    doubt: str


def longest_text(longest_s: float) -> int:
    """Characters that are sure to be said within a time, read slowly."""
    return max(20, int((longest_s - 1) * _CHARS_PER_S * 0.85))


def budget(text: str, longest_s: float) -> int:
    """Frames that a text may take: twice what it should, at most `longest_s`."""
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
    Read a sentence, again with another seed when it comes out empty, far too short or without an end.

    Args:
        voice:     the model.
        text:      one sentence, at most `longest_text(longest_s)` characters.
        context:   the voice, then sentences before this one; what does not fit is left out.
        longest_s: most seconds, 1 to 30.
        sampling:  how the model chooses.
        seed:      of the first try; the others count on from it.
        on_frame:  see `Csm.say`.

    Returns:
        The first good try, else the best one and what is wrong with it.

    Raises:
        EngineError: every try was empty.
        InputError: the voice is too long for the model.
    """
    frames = budget(text, longest_s)
    kept = voice.fitting(context, text, frames)
    made: list[tuple[int, Spoken]] = []
    for number in range(TRIES):
        spoken = voice.say(text, kept, frames, sampling, seed + number, on_frame)
        made.append((_faults(spoken, text), spoken))
        if made[-1][0] == 0 or sampling.temperature == 0:  # without chance every try is the same
            break
    faults, best = min(made, key=lambda one: one[0])
    if not len(best.samples):
        raise EngineError(f"The speech model made no sound for {text[:60]!r} in {len(made)} tries.")
    return Reading(
        levelled(without_ends(best.samples, RATE_HZ), RATE_HZ), tries=len(made), doubt=_DOUBTS[faults]
    )


_DOUBTS: Final = ("", "it is shorter than its words should take", "it found no end and was cut")


def _faults(spoken: Spoken, text: str) -> int:
    """Rank a try: 0 good, 1 too short, 2 without an end, 3 empty."""
    seconds = len(spoken.samples) / RATE_HZ
    if not seconds:
        return 3
    if not spoken.ended:
        return 2
    return int(seconds < len(text) / (_CHARS_PER_S * _QUICKEST))
