"""Clips to transcribe from voice activity detection (VAD): the whole sound without its long pauses."""

from collections.abc import Sequence
from typing import Final

from musetalk_core.transcription.records import Span

LONGEST_PAUSE_S: Final = 2.0
"""Pauses from this length on are removed; shorter ones improve recognition and cause no hallucinations."""
_MARGIN_S: Final = 0.4
"""Margin on either side of speech, in seconds, for soft onsets and endings."""


def clips(speech: Sequence[Span], duration_s: float) -> list[Span]:
    """
    Merge spans of speech to the clips to transcribe.

    Args:
        speech:     spans of speech in order.
        duration_s: length of the sound in seconds.

    Returns:
        Clips in order, without overlap. Without long pauses, also at both ends, the whole sound is one clip.
        Empty if there is no speech.
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
