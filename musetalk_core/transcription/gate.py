"""Clips to transcribe from voice activity detection (VAD): the whole sound without its long pauses."""

from collections.abc import Sequence
from typing import Final

from musetalk_core.transcription.records import TimeSpan

MIN_REMOVED_PAUSE_S: Final = 2.0
"""Pauses from this length on are removed; shorter ones improve recognition and cause no hallucinations."""
_SPEECH_MARGIN_S: Final = 0.4
"""Margin on either side of speech, in seconds, for soft onsets and endings."""


def speech_clips(speech: Sequence[TimeSpan], duration_s: float) -> list[TimeSpan]:
    """
    Merge spans of speech to the clips to transcribe.

    Args:
        speech:     spans of speech in order.
        duration_s: length of the sound in seconds.

    Returns:
        Clips in order, without overlap. Without long pauses, also at both ends, the whole sound is one clip.
        Empty if there is no speech.
    """
    out: list[TimeSpan] = []
    for span in speech:
        if out and span.start - out[-1].end < MIN_REMOVED_PAUSE_S:
            out[-1] = TimeSpan(out[-1].start, span.end)
        else:
            out.append(span)
    return [_add_margins(span, duration_s) for span in out]


def _add_margins(span: TimeSpan, duration_s: float) -> TimeSpan:
    start = span.start - _SPEECH_MARGIN_S if span.start >= MIN_REMOVED_PAUSE_S else 0.0
    end = span.end + _SPEECH_MARGIN_S if duration_s - span.end >= MIN_REMOVED_PAUSE_S else duration_s
    return TimeSpan(start, end)
