"""Data classes of a transcript. Times are seconds from the start of the sound. Does not import torch."""

import math
from dataclasses import dataclass
from typing import Literal, Self

WhisperTask = Literal["transcribe", "translate"]


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A half-open part of the sound, in seconds."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its times in seconds; `probability` is the mean probability of its tokens, 0..1."""

    word: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """
    A line of a transcript.

    Attributes:
        start, end:        seconds.
        text:              the text, stripped.
        avg_logprob:       mean log probability of the tokens of the window in which it was decoded.
        no_speech_prob:    probability 0..1 that the window contains no speech.
        compression_ratio: of the window's text; above 2.4 the text is repetitive.
        temperature:       0: decoded at the first attempt; above 0: sampled after failed attempts.
        words:             words with times; None if word timestamps were not requested.
    """

    start: float
    end: float
    text: str
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float
    words: tuple[Word, ...] | None

    @property
    def confidence(self) -> float:
        """Mean probability of the words, 0..1; without word timestamps, of the tokens of the window."""
        if self.words:
            return sum(word.probability for word in self.words) / len(self.words)
        return min(1.0, math.exp(self.avg_logprob))


@dataclass(frozen=True, slots=True)
class Language:
    """A language code; `probability` (0..1) is None if it was given or the model supports only one."""

    code: str
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """
    A transcript of a sound.

    Attributes:
        segments:   lines in order.
        language:   spoken language; None if there is no speech and no language was given.
        speech:     clips that were transcribed.
        duration_s: length of the sound in seconds.
    """

    segments: tuple[Segment, ...]
    language: Language | None
    speech: tuple[TimeSpan, ...]
    duration_s: float

    @classmethod
    def without_speech(cls, duration_s: float, language: str | None) -> Self:
        """Return the transcript of a sound without speech; `language` is its code if it was given."""
        return cls((), None if language is None else Language(language), (), duration_s)

    @property
    def text(self) -> str:
        """The text, one line per segment."""
        return "\n".join(segment.text for segment in self.segments)

    @property
    def confidence(self) -> float | None:
        """Mean confidence of the lines, weighted by their length in characters; None without text."""
        letters = sum(len(segment.text) for segment in self.segments)
        if not letters:
            return None
        return sum(segment.confidence * len(segment.text) for segment in self.segments) / letters
