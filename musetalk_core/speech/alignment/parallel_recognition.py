"""
Phone recognition of speech without text, segment by segment, in worker processes.

The result for a segment does not depend on the process that decodes it: the recognizers keep no state between
segments.
"""

import os
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Final

from musetalk_core.formats.pcm import PcmFile, Samples
from musetalk_core.speech.alignment.pocketsphinx import PhoneRecognizer, WordRecognizer
from musetalk_core.speech.alignment.worker_process import Check, call_in_workers, no_check
from musetalk_core.speech.audio.segments import loud_seconds
from musetalk_core.speech.phones import Phone
from musetalk_core.types import SPEECH_RATE_HZ, Float

_MIN_WORD_SHARE: Final = 0.5
"""
Least share of the loud time that words must cover; below it phones are recognized without words.

Clear speech reaches 0.8.
"""
_MAX_PROCESSES: Final = 4
"""Each process loads the language model, 150 MB."""
_MAX_IN_PROCESS_S: Final = 2.0
"""Longer speech is recognized in worker processes, which can be killed if the job is canceled."""

SampleRange = tuple[int, int]
"""First sample and last sample + 1 of a segment."""


class PhoneRecognizers:
    """The pocketsphinx recognizers of one process; each is loaded at first use."""

    @cached_property
    def word_recognizer(self) -> WordRecognizer:
        """The word recognizer."""
        return WordRecognizer()

    @cached_property
    def phone_recognizer(self) -> PhoneRecognizer:
        """The recognizer of phones without words."""
        return PhoneRecognizer()

    def recognize(self, samples: Float) -> list[Phone]:
        """
        Recognize a segment of up to 30 s.

        Args:
            samples: (S,) float32 at 16 kHz, mono.

        Returns:
            Phones with times from the start of the segment; '' is silence. They are the phones of the
            recognized words or, if words cover too little of the speech, phones recognized without words.
        """
        loud_s = loud_seconds(samples)
        if not loud_s:
            return [Phone(0.0, len(samples) / SPEECH_RATE_HZ, "")]
        phones = self.word_recognizer.recognize(samples)
        if spoken_seconds(phones) < _MIN_WORD_SHARE * loud_s:
            phones = self.phone_recognizer.recognize(samples)
        return phones


def spoken_seconds(phones: Sequence[Phone]) -> float:
    """Return the total length in seconds of all phones except silence."""
    return sum(p.end_s - p.start_s for p in phones if p.name)


def recognize_in_parallel(
    samples: Samples, spans: Sequence[SampleRange], recognizers: PhoneRecognizers, check: Check = no_check
) -> Iterator[list[Phone]]:
    """
    Recognize segments and yield their phones in order.

    The segments of a `PcmFile` are recognized in worker processes, several in parallel if there is more than
    one core; a short one in this process.

    Args:
        samples:     16 kHz mono speech.
        spans:       the segments.
        recognizers: used in this process.
        check:       called several times a second; see `Check`.

    Raises:
        ModelNotInstalled: a package is missing or damaged.
        EngineError: a worker process died.
    """
    if not needs_worker(samples):
        for start, stop in spans:
            check()
            yield recognizers.recognize(samples.read(start, stop))
        return
    assert isinstance(samples, PcmFile)  # noqa: S101  see `needs_worker`
    processes = min(len(spans), os.cpu_count() or 1, _MAX_PROCESSES)
    calls = [(str(samples.path), *span) for span in spans]
    for phones in call_in_workers(f"{__name__}:recognize_file", calls, max(processes, 1), check):
        yield [Phone(*values) for values in phones]


def needs_worker(samples: Samples) -> bool:
    """Return whether recognition takes so long that it must be possible to abort it."""
    return isinstance(samples, PcmFile) and samples.count > _MAX_IN_PROCESS_S * SPEECH_RATE_HZ


@cache
def _own_recognizers() -> PhoneRecognizers:
    return PhoneRecognizers()


def recognize_file(path: str, start: int, stop: int) -> list[Phone]:
    """Recognize samples `start` to `stop` of a PCM file; called in a worker process."""
    return _own_recognizers().recognize(PcmFile(Path(path)).read(start, stop))
