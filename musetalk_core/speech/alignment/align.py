"""
Phones with times for recorded English speech.

If the text is known, forced alignment; otherwise word recognition, phone recognition, or nothing (`energy`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from musetalk_core.formats.pcm import PcmFile, Samples
from musetalk_core.speech.alignment.g2p import WordPronunciation, pronounce_words
from musetalk_core.speech.alignment.parallel_recognition import (
    PhoneRecognizers,
    SampleRange,
    needs_worker,
    recognize_in_parallel,
    spoken_seconds,
)
from musetalk_core.speech.alignment.pocketsphinx import ForcedAligner
from musetalk_core.speech.alignment.worker_process import Check, call_in_workers, no_check
from musetalk_core.speech.audio.segments import MAX_SEGMENT_S, loud_seconds, split_at_pauses
from musetalk_core.speech.phones import Phone
from musetalk_core.types import SPEECH_RATE_HZ, Float

PhoneMethod = Literal["aligned", "recognised", "energy"]
"""How most phones were found. `energy`: no phones; only the loudness of the speech can drive the mouth."""

_COMPARE_STEP_S: Final = 0.01
_MIN_AGREEMENT: Final = 0.22
"""
Least `agreement` for an alignment to be accepted.

Measured: correct texts 0.46 to 0.88 (0.19 to 0.53 in noise), wrong texts 0.07, at most 0.30.
"""
_MAX_FAILED_SEGMENTS: Final = 4
"""After this many consecutive segments without alignment the text is abandoned."""
_PARALLEL_SEGMENT_S: Final = 15.0
"""Longest segment for parallel recognition; short segments spread evenly over the processes."""
_MIN_PHONE_SHARE: Final = 0.1
"""Least share of the loud time that phones must cover; below it recognition has failed."""


class _SegmentPhones(NamedTuple):
    """Phones of one segment, with times from the segment's start."""

    phones: list[Phone]
    is_aligned: bool
    loud_s: float


def find_phones(
    samples: Samples,
    text: str | None = None,
    max_segment_s: float = MAX_SEGMENT_S,
    check: Check = no_check,
) -> tuple[list[Phone], PhoneMethod]:
    """
    Find the phones of English speech, segment by segment.

    If the text does not fit a segment (music, missing words), the segment is recognized without text, and the
    next segment is aligned from the same word on. After four such segments in a row the text is abandoned.
    Recognition finds words and takes their phones; if few words are found, it finds phones without words.

    Args:
        samples:       16 kHz mono speech; read one segment at a time.
        text:          the words spoken, if known.
        max_segment_s: length of the longest segment in seconds; memory grows with it.
        check:         called several times a second for a `PcmFile`; it may raise to abort the search.

    Returns:
        Phones covering the whole length ('' is silence), and how most of them were found. With `energy` the
        list is empty: neither method worked, as in loud music.

    Raises:
        ModelNotInstalled: a package is missing or damaged.
        EngineError: a recognition process died.
    """
    words = pronounce_words(text) if text else []
    if words and needs_worker(samples):
        return _find_phones_in_worker(samples, text, max_segment_s, check)
    spans = list(
        split_at_pauses(samples, max_segment_s if words else min(max_segment_s, _PARALLEL_SEGMENT_S))
    )
    segments = _align_segments(samples, spans, words) if words else _recognize_segments(samples, spans, check)
    phones = [
        Phone(p.start_s + start / SPEECH_RATE_HZ, p.end_s + start / SPEECH_RATE_HZ, p.name)
        for (start, _), segment in zip(spans, segments, strict=True)
        for p in segment.phones
    ]
    if _has_too_few_phones(phones, segments):
        return [], "energy"
    return _merge_silences(phones), _prevailing_method(segments)


def _find_phones_in_worker(
    samples: Samples, text: str | None, max_segment_s: float, check: Check
) -> tuple[list[Phone], PhoneMethod]:
    """Align in one process, because each segment continues in the text where the previous one ended."""
    assert isinstance(samples, PcmFile)  # noqa: S101  see `needs_worker`
    calls = [(str(samples.path), text, max_segment_s)]
    ((phones, method),) = call_in_workers(f"{__name__}:align_file", calls, 1, check)
    return [Phone(*values) for values in phones], method


def align_file(path: str, text: str, max_segment_s: float) -> tuple[list[Phone], PhoneMethod]:
    """Find the phones of a PCM file with a known text; called in a worker process."""
    return find_phones(_PcmReader(PcmFile(Path(path))), text, max_segment_s)


class _PcmReader:
    """The samples of a file, which are processed in this process whatever their length."""

    def __init__(self, file: PcmFile) -> None:
        self.count, self.read = file.count, file.read


def _recognize_segments(samples: Samples, spans: Sequence[SampleRange], check: Check) -> list[_SegmentPhones]:
    recognized = recognize_in_parallel(samples, spans, PhoneRecognizers(), check)
    return [
        _SegmentPhones(phones, False, loud_seconds(samples.read(*span)))
        for span, phones in zip(spans, recognized, strict=True)
    ]


def _align_segments(
    samples: Samples, spans: Sequence[SampleRange], words: Sequence[WordPronunciation]
) -> list[_SegmentPhones]:
    """Align the segments in order: each continues in the text where the previous one ended."""
    recognizers, aligner, failures = PhoneRecognizers(), ForcedAligner(words), 0
    segments: list[_SegmentPhones] = []
    for start, stop in spans:
        segment = _align_or_recognize(
            samples.read(start, stop), recognizers, aligner if failures < _MAX_FAILED_SEGMENTS else None
        )
        failures = 0 if segment.is_aligned else failures + 1
        segments.append(segment)
    return segments


def _align_or_recognize(
    samples: Float, recognizers: PhoneRecognizers, aligner: ForcedAligner | None
) -> _SegmentPhones:
    length_s, loud_s = len(samples) / SPEECH_RATE_HZ, loud_seconds(samples)
    aligned = aligner.align(samples) if loud_s and aligner is not None and not aligner.is_exhausted else []
    if (
        aligner is not None
        and aligned
        and agreement(aligned, recognizers.phone_recognizer.recognize(samples), length_s) >= _MIN_AGREEMENT
    ):
        aligner.accept()
        return _SegmentPhones(aligned, True, loud_s)
    return _SegmentPhones(recognizers.recognize(samples), False, loud_s)


def agreement(first: Sequence[Phone], second: Sequence[Phone], length_s: float) -> float:
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
    steps = int(length_s / _COMPARE_STEP_S) + 1
    names = sorted({p.name for p in (*first, *second)} - {""})
    numbers = {name: number for number, name in enumerate(names, 1)}
    first_numbers, second_numbers = (
        _phone_numbers(first, numbers, steps),
        _phone_numbers(second, numbers, steps),
    )
    has_phone = (first_numbers > 0) | (second_numbers > 0)
    return float(((first_numbers == second_numbers) & has_phone).sum() / max(1, has_phone.sum()))


def _phone_numbers(phones: Iterable[Phone], numbers: dict[str, int], steps: int) -> npt.NDArray[np.int32]:
    """Return (steps,) int32 with the number of the phone in every 10 ms; 0 is silence."""
    out = np.zeros(steps, np.int32)
    for phone in phones:
        out[round(phone.start_s / _COMPARE_STEP_S) : round(phone.end_s / _COMPARE_STEP_S)] = numbers.get(
            phone.name, 0
        )
    return out


def _has_too_few_phones(phones: Sequence[Phone], segments: Sequence[_SegmentPhones]) -> bool:
    return spoken_seconds(phones) < _MIN_PHONE_SHARE * sum(piece.loud_s for piece in segments)


def _prevailing_method(segments: Sequence[_SegmentPhones]) -> PhoneMethod:
    aligned_s = sum(piece.loud_s for piece in segments if piece.is_aligned)
    loud_s = sum(piece.loud_s for piece in segments)
    return "aligned" if loud_s and aligned_s >= loud_s / 2 else "recognised"


def _merge_silences(phones: Iterable[Phone]) -> list[Phone]:
    """Merge consecutive silences."""
    out: list[Phone] = []
    for phone in phones:
        if out and not phone.name and not out[-1].name:
            out[-1] = out[-1]._replace(end_s=phone.end_s)
        else:
            out.append(phone)
    return out
