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
from musetalk_core.speech.phones import Phone
from musetalk_core.speech.recogniser import Listener, Recogniser
from musetalk_core.speech.samples import PcmFile, Samples
from musetalk_core.speech.windows import loud_seconds
from musetalk_core.types import SPEECH_RATE_HZ, Float

_LEAST_WORDS: Final = 0.5
"""
Least share of the loud time that words must cover; below it phones are recognized without words.

Clear speech reaches 0.8.
"""
_MOST_PROCESSES: Final = 4
"""Each process loads the language model, 150 MB."""
_ROOT: Final = Path(__file__).resolve().parents[2]
_CHILD: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from musetalk_core.speech.hearing import serve; serve()"
)

Span = tuple[int, int]
"""First sample and last sample + 1 of a segment."""


class Ears:
    """The pocketsphinx recognizers of one process; each is loaded at first use."""

    @cached_property
    def words(self) -> Listener:
        """The word recognizer."""
        return Listener()

    @cached_property
    def sounds(self) -> Recogniser:
        """The recognizer of phones without words."""
        return Recogniser()

    def phones(self, samples: Float) -> list[Phone]:
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
        phones = self.words.phones(samples)
        if spoken_seconds(phones) < _LEAST_WORDS * loud_s:
            phones = self.sounds.phones(samples)
        return phones


def spoken_seconds(phones: Sequence[Phone]) -> float:
    """Return the total length in seconds of all phones except silence."""
    return sum(p.end_s - p.start_s for p in phones if p.name)


def heard_pieces(samples: Samples, spans: Sequence[Span], ears: Ears) -> Iterator[list[Phone]]:
    """
    Recognize segments and yield their phones in order.

    Several segments are recognized in parallel if the speech is a `PcmFile` and there is more than one core.

    Raises:
        ModelNotInstalled: a package is missing or damaged.
        EngineError: a worker process died.
    """
    processes = min(len(spans), os.cpu_count() or 1, _MOST_PROCESSES)
    if processes < 2 or not isinstance(samples, PcmFile):
        for start, stop in spans:
            yield ears.phones(samples.read(start, stop))
        return
    with ExitStack() as stack:
        idle = SimpleQueue[_Listening]()
        for _ in range(processes):
            idle.put(stack.enter_context(_Listening(samples.path)))

        def ask(span: Span) -> list[Phone]:
            one = idle.get()
            try:
                return one.phones(*span)
            finally:
                idle.put(one)

        pool = stack.enter_context(ThreadPoolExecutor(processes))
        yield from pool.map(ask, spans)


class _Listening:
    """A process that recognizes segments of one file, one at a time; it exits at the end of its input."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        words = [sys.executable, "-c", _CHILD, str(_ROOT)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def phones(self, start: int, stop: int) -> list[Phone]:
        asks, answers = self._process.stdin, self._process.stdout
        assert asks is not None and answers is not None  # noqa: S101  both are pipes
        try:
            asks.write(json.dumps([str(self._path), start, stop]) + "\n")
            asks.flush()
            return [Phone(*values) for values in json.loads(answers.readline())]
        except (OSError, ValueError) as error:
            raise EngineError("A speech recognition process died.") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()  # it keeps no state, and may be busy with a segment that is no longer needed
        self._process.communicate()


def serve() -> None:
    """Read JSON lines `[path, start, stop]` from stdin until EOF; write a JSON line of phones for each."""
    ears = Ears()
    for line in sys.stdin:
        path, start, stop = json.loads(line)
        phones = ears.phones(PcmFile(Path(path)).read(start, stop))
        sys.stdout.write(json.dumps(phones) + "\n")
        sys.stdout.flush()
