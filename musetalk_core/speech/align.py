"""
Phones with times for recorded English speech.

If the text is known, forced alignment; otherwise word recognition, phone recognition, or nothing (`energy`).
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from musetalk_core.speech.hearing import Ears, Span, heard_pieces, spoken_seconds
from musetalk_core.speech.phones import Phone
from musetalk_core.speech.pronunciation import SpokenWord, spoken_words
from musetalk_core.speech.recogniser import Aligner
from musetalk_core.speech.samples import Samples
from musetalk_core.speech.windows import LONGEST_S, loud_seconds, windows
from musetalk_core.types import SPEECH_RATE_HZ, Float

Method = Literal["aligned", "recognised", "energy"]
"""How most phones were found. `energy`: no phones; only the loudness of the speech can drive the mouth."""

_STEP_S: Final = 0.01
_AGREEMENT: Final = 0.22
"""
Least `agreement` for an alignment to be accepted.

Measured: correct texts 0.46 to 0.88 (0.19 to 0.53 in noise), wrong texts 0.07, at most 0.30.
"""
_PATIENCE: Final = 4
"""After this many consecutive segments without alignment the text is abandoned."""
_SHARED_S: Final = 15.0
"""Longest segment for parallel recognition; short segments spread evenly over the processes."""
_LEAST_SPEECH: Final = 0.1
"""Least share of the loud time that phones must cover; below it recognition has failed."""


class _Heard(NamedTuple):
    """Phones of one segment, with times from the segment's start."""

    phones: list[Phone]
    aligned: bool
    loud_s: float


def phones_of(
    samples: Samples, text: str | None = None, piece_s: float = LONGEST_S
) -> tuple[list[Phone], Method]:
    """
    Find the phones of English speech, segment by segment.

    If the text does not fit a segment (music, missing words), the segment is recognized without text, and the
    next segment is aligned from the same word on. After four such segments in a row the text is abandoned.
    Recognition finds words and takes their phones; if few words are found, it finds phones without words.

    Args:
        samples:       16 kHz mono speech; read one segment at a time.
        text:          the words spoken, if known.
        max_segment_s: length of the longest segment in seconds; memory grows with it.

    Returns:
        Phones covering the whole length ('' is silence), and how most of them were found. With `energy` the
        list is empty: neither method worked, as in loud music.

    Raises:
        ModelNotInstalled: a package is missing or damaged.
    """
    words = spoken_words(text) if text else []
    spans = list(windows(samples, piece_s if words else min(piece_s, _SHARED_S)))
    pieces = _aligned(samples, spans, words) if words else _recognised(samples, spans)
    phones = [
        Phone(p.start_s + start / SPEECH_RATE_HZ, p.end_s + start / SPEECH_RATE_HZ, p.name)
        for (start, _), heard in zip(spans, pieces, strict=True)
        for p in heard.phones
    ]
    if _failed(phones, pieces):
        return [], "energy"
    return _joined(phones), _method(pieces)


def _recognised(samples: Samples, spans: Sequence[Span]) -> list[_Heard]:
    heard = heard_pieces(samples, spans, Ears())
    return [
        _Heard(phones, False, loud_seconds(samples.read(*span)))
        for span, phones in zip(spans, heard, strict=True)
    ]


def _aligned(samples: Samples, spans: Sequence[Span], words: Sequence[SpokenWord]) -> list[_Heard]:
    """Align the segments in order: each continues in the text where the previous one ended."""
    ears, aligner, failures = Ears(), Aligner(words), 0
    pieces: list[_Heard] = []
    for start, stop in spans:
        heard = _fitted(samples.read(start, stop), ears, aligner if failures < _PATIENCE else None)
        failures = 0 if heard.aligned else failures + 1
        pieces.append(heard)
    return pieces


def _fitted(samples: Float, ears: Ears, aligner: Aligner | None) -> _Heard:
    length_s, loud_s = len(samples) / SPEECH_RATE_HZ, loud_seconds(samples)
    known = aligner.phones(samples) if loud_s and aligner is not None and not aligner.is_done else []
    if (
        aligner is not None
        and known
        and agreement(known, ears.sounds.phones(samples), length_s) >= _AGREEMENT
    ):
        aligner.accept()
        return _Heard(known, True, loud_s)
    return _Heard(ears.phones(samples), False, loud_s)


def agreement(known: Sequence[Phone], free: Sequence[Phone], length_s: float) -> float:
    """
    Return how well two phone sequences of one recording agree.

    A wrong text can be aligned as well, but its phones do not agree with those recognized without text.

    Args:
        first:    phones of the first sequence.
        second:   phones of the second sequence.
        length_s: length of the recording in seconds.

    Returns:
        Time in which both have the same phone, as a share (0..1) of the time in which either has a phone.
        Compared every 10 ms.
    """
    steps = int(length_s / _STEP_S) + 1
    names = sorted({p.name for p in (*known, *free)} - {""})
    numbers = {name: number for number, name in enumerate(names, 1)}
    a, b = _numbered(known, numbers, steps), _numbered(free, numbers, steps)
    voiced = (a > 0) | (b > 0)
    return float(((a == b) & voiced).sum() / max(1, voiced.sum()))


def _numbered(phones: Iterable[Phone], numbers: dict[str, int], steps: int) -> npt.NDArray[np.int32]:
    """Return (steps,) int32 with the number of the phone in every 10 ms; 0 is silence."""
    out = np.zeros(steps, np.int32)
    for phone in phones:
        out[round(phone.start_s / _STEP_S) : round(phone.end_s / _STEP_S)] = numbers.get(phone.name, 0)
    return out


def _failed(phones: Sequence[Phone], pieces: Sequence[_Heard]) -> bool:
    return spoken_seconds(phones) < _LEAST_SPEECH * sum(piece.loud_s for piece in pieces)


def _method(pieces: Sequence[_Heard]) -> Method:
    aligned_s = sum(piece.loud_s for piece in pieces if piece.aligned)
    loud_s = sum(piece.loud_s for piece in pieces)
    return "aligned" if loud_s and aligned_s >= loud_s / 2 else "recognised"


def _joined(phones: Iterable[Phone]) -> list[Phone]:
    """Merge consecutive silences."""
    out: list[Phone] = []
    for phone in phones:
        if out and not phone.name and not out[-1].name:
            out[-1] = out[-1]._replace(end_s=phone.end_s)
        else:
            out.append(phone)
    return out
