"""What a transcript is made of. Times are seconds from the start of the sound; imports nothing heavy."""

import math
from dataclasses import dataclass
from typing import Literal, Self

Task = Literal["transcribe", "translate"]


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the sound, in seconds, half-open."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its times; `probability` is what the model gave its tokens, 0..1."""

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
        text:              what is said, without blanks around it.
        avg_logprob:       mean logarithm of the probability of a token, of the window it was decoded in.
        no_speech_prob:    0..1, how sure the model is that the window holds no speech.
        compression_ratio: above 2.4 the text repeats itself.
        temperature:       0: decoded at the first try; more: sampled, after tries that looked wrong.
        words:             None where words have no times.
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
        """Mean probability of its words; of the tokens of its window where words have no times. 0..1."""
        if self.words:
            return sum(word.probability for word in self.words) / len(self.words)
        return min(1.0, math.exp(self.avg_logprob))


@dataclass(frozen=True, slots=True)
class Language:
    """A language and how it is known; `probability` is None when it was given, or is the only one."""

    code: str
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """
    What was said.

    Attributes:
        segments:   in order.
        language:   that is spoken; None when nobody speaks and none was given.
        speech:     what was listened to.
        duration_s: of the sound.
    """

    segments: tuple[Segment, ...]
    language: Language | None
    speech: tuple[Span, ...]
    duration_s: float

    @classmethod
    def of_nothing(cls, duration_s: float, language: str | None) -> Self:
        """Make the transcript of sound in which nobody speaks; `language` if it was given."""
        return cls((), None if language is None else Language(language), (), duration_s)

    @property
    def text(self) -> str:
        """One line a segment."""
        return "\n".join(segment.text for segment in self.segments)

    @property
    def confidence(self) -> float | None:
        """Mean confidence of the lines, each counted by its length in letters; None without any."""
        letters = sum(len(segment.text) for segment in self.segments)
        if not letters:
            return None
        return sum(segment.confidence * len(segment.text) for segment in self.segments) / letters
