"""What of a sound is listened to: all of it but the long stretches in which nobody speaks."""

from collections.abc import Sequence
from typing import Final

from musetalk_core.transcription.records import Span

LONGEST_PAUSE_S: Final = 2.0
"""Shorter pauses are left in: a model hears sentences better with them, and invents nothing there."""
_MARGIN_S: Final = 0.4
"""Kept on either side of speech, for soft beginnings and ends."""


def clips(speech: Sequence[Span], duration_s: float) -> list[Span]:
    """
    Join speech to clips that are worth listening to.

    Args:
        speech:     spans with somebody speaking, in order.
        duration_s: of the sound.

    Returns:
        Clips in order, apart from each other. Speech without long pauses, also at its ends, is one clip: the
        whole sound. Sound without speech is none.
    """
    out: list[Span] = []
    for span in speech:
        if out and span.start - out[-1].end < LONGEST_PAUSE_S:
            out[-1] = Span(out[-1].start, span.end)
        else:
            out.append(span)
    return [_widened(span, duration_s) for span in out]


def _widened(span: Span, duration_s: float) -> Span:
    start = span.start - _MARGIN_S if span.start >= LONGEST_PAUSE_S else 0.0
    end = span.end + _MARGIN_S if duration_s - span.end >= LONGEST_PAUSE_S else duration_s
    return Span(start, end)
