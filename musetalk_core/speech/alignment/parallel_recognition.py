"""
Phone recognition of speech without text, segment by segment; long speech in several processes in parallel.

pocketsphinx holds the GIL while it decodes, so threads would not help. The result for a segment does not
depend on the process that decodes it: the recognizers keep no state between segments.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Self

from musetalk_core.errors import EngineError
from musetalk_core.formats.pcm import PcmFile, Samples
from musetalk_core.speech.alignment.pocketsphinx import PhoneRecognizer, WordRecognizer
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
_SOURCE_ROOT: Final = Path(__file__).resolve().parents[3]
_WORKER_CODE: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    " from musetalk_core.speech.alignment.parallel_recognition import worker_main; worker_main()"
)

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
    samples: Samples, spans: Sequence[SampleRange], recognizers: PhoneRecognizers
) -> Iterator[list[Phone]]:
    """
    Recognize segments and yield their phones in order.

    Several segments are recognized in parallel if the speech is a `PcmFile` and there is more than one core.

    Raises:
        ModelNotInstalled: a package is missing or damaged.
        EngineError: a worker process died.
    """
    processes = min(len(spans), os.cpu_count() or 1, _MAX_PROCESSES)
    if processes < 2 or not isinstance(samples, PcmFile):
        for start, stop in spans:
            yield recognizers.recognize(samples.read(start, stop))
        return
    with ExitStack() as stack:
        idle_workers = SimpleQueue[_Worker]()
        for _ in range(processes):
            idle_workers.put(stack.enter_context(_Worker(samples.path)))

        def recognize_one(span: SampleRange) -> list[Phone]:
            worker = idle_workers.get()
            try:
                return worker.recognize(*span)
            finally:
                idle_workers.put(worker)

        pool = stack.enter_context(ThreadPoolExecutor(processes))
        yield from pool.map(recognize_one, spans)


class _Worker:
    """A process that recognizes segments of one file, one at a time; it exits at the end of its input."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        command = [sys.executable, "-c", _WORKER_CODE, str(_SOURCE_ROOT)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def recognize(self, start: int, stop: int) -> list[Phone]:
        requests, responses = self._process.stdin, self._process.stdout
        assert requests is not None and responses is not None  # noqa: S101  both are pipes
        try:
            requests.write(json.dumps([str(self._path), start, stop]) + "\n")
            requests.flush()
            return [Phone(*values) for values in json.loads(responses.readline())]
        except (OSError, ValueError) as error:
            raise EngineError("A speech recognition process died.") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()  # it keeps no state, and may be busy with a segment that is no longer needed
        self._process.communicate()


def worker_main() -> None:
    """Read JSON lines `[path, start, stop]` from stdin until EOF; write a JSON line of phones for each."""
    recognizers = PhoneRecognizers()
    for line in sys.stdin:
        path, start, stop = json.loads(line)
        phones = recognizers.recognize(PcmFile(Path(path)).read(start, stop))
        sys.stdout.write(json.dumps(phones) + "\n")
        sys.stdout.flush()
