"""The phones of a recording: of its text, of the words heard in it, of no words at all, or none."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from musetalk_core.speech.phones import Phone
from musetalk_core.speech.pronunciation import spoken_words
from musetalk_core.speech.recogniser import Aligner, Listener, Recogniser
from musetalk_core.speech.samples import Samples
from musetalk_core.speech.windows import LONGEST_S, levels, windows
from musetalk_core.types import SPEECH_RATE_HZ, Float

Method = Literal["aligned", "recognised", "energy"]
"""`energy`: no phones were found; only the loudness can move the mouth."""

_SILENT_RMS: Final = 0.002
"""-54 dBFS: quieter pieces are silence without asking."""
_STEP_S: Final = 0.01
_AGREEMENT: Final = 0.22
"""See `agreement`. Measured: right texts .46 to .88 (.19 to .53 in noise), wrong ones .07, at most .30."""
_PATIENCE: Final = 4
_LEAST_SPEECH: Final = 0.1
"""Share of the loud time that must be phones, or recognition has failed."""
_LEAST_WORDS: Final = 0.5
"""The same for words, or phones are recognised without any. Clear speech has .8 and more."""


class _Heard(NamedTuple):
    phones: list[Phone]
    aligned: bool
    loud_s: float
    length_s: float


class _Ears:
    """The recognisers of one file; each is loaded when it is first needed."""

    @cached_property
    def words(self) -> Listener:
        return Listener()

    @cached_property
    def sounds(self) -> Recogniser:
        return Recogniser()


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
    ears = _Ears()
    words = spoken_words(text) if text else []
    aligner = Aligner(words) if words else None
    pieces: list[_Heard] = []
    phones: list[Phone] = []
    failures = 0
    for start, stop in windows(samples, piece_s):
        heard = _heard(samples.read(start, stop), ears, aligner if failures < _PATIENCE else None)
        failures = 0 if heard.aligned else failures + 1
        offset = start / SPEECH_RATE_HZ
        phones += [Phone(p.start_s + offset, p.end_s + offset, p.name) for p in heard.phones]
        pieces.append(heard)
    if _failed(phones, pieces):
        return [], "energy"
    return _joined(phones), _method(pieces)


def _heard(samples: Float, ears: _Ears, aligner: Aligner | None) -> _Heard:
    length_s = len(samples) / SPEECH_RATE_HZ
    loud_s = float((levels(samples, _STEP_S) > _SILENT_RMS).sum() * _STEP_S)
    if not loud_s:
        return _Heard([Phone(0.0, length_s, "")], False, 0.0, length_s)
    known = aligner.phones(samples) if aligner is not None and not aligner.is_done else []
    if (
        aligner is not None
        and known
        and agreement(known, ears.sounds.phones(samples), length_s) >= _AGREEMENT
    ):
        aligner.accept()
        return _Heard(known, True, loud_s, length_s)
    phones = ears.words.phones(samples)
    if _spoken_s(phones) < _LEAST_WORDS * loud_s:
        phones = ears.sounds.phones(samples)
    return _Heard(phones, False, loud_s, length_s)


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
    return _spoken_s(phones) < _LEAST_SPEECH * sum(piece.loud_s for piece in pieces)


def _spoken_s(phones: Iterable[Phone]) -> float:
    return sum(p.end_s - p.start_s for p in phones if p.name)


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
