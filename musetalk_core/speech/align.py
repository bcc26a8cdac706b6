"""The phones of a recording: of its text, of the words heard in it, of no words at all, or none."""

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
"""`energy`: no phones were found; only the loudness can move the mouth."""

_STEP_S: Final = 0.01
_AGREEMENT: Final = 0.22
"""See `agreement`. Measured: right texts .46 to .88 (.19 to .53 in noise), wrong ones .07, at most .30."""
_PATIENCE: Final = 4
_SHARED_S: Final = 15.0
"""Pieces that several processes share are shorter, so that none is left with a long one in the end."""
_LEAST_SPEECH: Final = 0.1
"""Share of the loud time that must be phones, or recognition has failed."""


class _Heard(NamedTuple):
    phones: list[Phone]
    aligned: bool
    loud_s: float


def phones_of(
    samples: Samples, text: str | None = None, piece_s: float = LONGEST_S
) -> tuple[list[Phone], Method]:
    """
    Find the phones of English speech, piece by piece.

    Where the text does not fit a piece (music, words left out), it is recognised as if there were none, and
    the next piece is tried with the same words; after four such pieces in a row the text is given up.
    Recognised are words, whose phones are taken; where few are heard, phones without words.

    Args:
        samples: the recording; read piece by piece.
        text:    what is said in it, if known.
        piece_s: no piece is longer; memory grows with it.

    Returns:
        The phones over the whole length ('' is silence) and how most of them were found. No phones with
        `energy`: neither worked, as in loud music.

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
    """In order, since each piece goes on in the text where the one before ended."""
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
    Compare two readings of one recording; a wrong text can be aligned too, but it agrees with nothing heard.

    Args:
        known:    phones of one.
        free:     phones of the other.
        length_s: of the recording.

    Returns:
        Share of the time voiced in either in which both have the same phone, 0..1.
    """
    steps = int(length_s / _STEP_S) + 1
    names = sorted({p.name for p in (*known, *free)} - {""})
    numbers = {name: number for number, name in enumerate(names, 1)}
    a, b = _numbered(known, numbers, steps), _numbered(free, numbers, steps)
    voiced = (a > 0) | (b > 0)
    return float(((a == b) & voiced).sum() / max(1, voiced.sum()))


def _numbered(phones: Iterable[Phone], numbers: dict[str, int], steps: int) -> npt.NDArray[np.int32]:
    """(n,) number of the phone every 10 ms; 0 in silence."""
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
    """Make one silence of several in a row."""
    out: list[Phone] = []
    for phone in phones:
        if out and not phone.name and not out[-1].name:
            out[-1] = out[-1]._replace(end_s=phone.end_s)
        else:
            out.append(phone)
    return out
