"""Decoding of one 30 s window with Whisper: options, temperature fallback, language codes."""

from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from whisper.decoding import DecodingOptions, DecodingResult
from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE, Tokenizer

from musetalk_core.errors import InputError
from musetalk_core.transcription.transcript import WhisperTask
from musetalk_core.transcription.window_model import Check, WindowModel

_TEMPERATURES: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_MAX_COMPRESSION_RATIO: Final = 2.4
"""A text with a higher compression ratio is repetitive and decoded again."""
_MIN_AVG_LOGPROB: Final = -1.0
"""A text with a lower mean log probability is uncertain and decoded again."""
_NO_SPEECH_THRESHOLD: Final = 0.6
"""An uncertain text with a higher no-speech probability counts as silence."""
_RETRY_STEP_S: Final = 6.0
"""Each further attempt needs this much more sound, so that a window of 30 s gets all six temperatures."""
_MAX_TOKENS_PER_S: Final = 30
"""More than any language needs: fast speech takes about 10, in scripts of three bytes a letter about 25."""
_EXTRA_TOKENS: Final = 16
MAX_PROMPT_TOKENS: Final = 223
"""Maximum tokens of the previous text that the model accepts as prompt."""


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """
    Decoding options. The defaults, and all thresholds of this module, are those of the `whisper` command.

    Attributes:
        task:      transcribe, or translate to English.
        beam_size: beams of the first attempt (temperature 0); 1 decodes greedily.
        best_of:   samples of each further attempt.
        words:     whether words get timestamps.
    """

    task: WhisperTask = "transcribe"
    beam_size: int = 5
    best_of: int = 5
    words: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """A loaded model with a language (code), decoding options and a check for cancellation."""

    model: WindowModel
    language: str
    options: DecodeOptions
    check: Check = lambda: None

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer for the language and the task."""
        return self.model.tokenizer(self.language, self.options.task)

    def decode(
        self, window: Any, prompt: list[int], seconds: float, *, may_retry: bool = True
    ) -> DecodingResult | None:
        """
        Decode a window, at increasing temperatures until the result passes the thresholds.

        The number of attempts and of their tokens is bounded by the length of the sound. The same window and
        prompt give the same result, at every temperature.

        Args:
            window:    from the model's `prepare`.
            prompt:    tokens of the previous text.
            seconds:   length of the sound in the window.
            may_retry: False for a single attempt.

        Returns:
            The first result that passes, otherwise the last one; None if the window contains no speech.
        """
        result: DecodingResult | None = None
        for temperature in temperatures_for(seconds) if may_retry else _TEMPERATURES[:1]:
            result = self._decode_at(window, prompt, temperature, max_tokens(seconds, self.model))
            is_uncertain = result.avg_logprob < _MIN_AVG_LOGPROB
            if is_uncertain and result.no_speech_prob > _NO_SPEECH_THRESHOLD:
                return None
            if not is_uncertain and result.compression_ratio <= _MAX_COMPRESSION_RATIO:
                return result
        return result

    def _decode_at(
        self, window: Any, prompt: list[int], temperature: float, sample_len: int
    ) -> DecodingResult:
        is_first, options = temperature == 0, self.options
        decoding_options = DecodingOptions(
            task=options.task,
            language=self.language,
            temperature=temperature,
            sample_len=sample_len,
            beam_size=options.beam_size if is_first and options.beam_size > 1 else None,
            best_of=None if is_first else options.best_of,
            prompt=prompt,
        )
        return self.model.decode(window, decoding_options, self.check)


def temperatures_for(seconds: float) -> tuple[float, ...]:
    """Return the temperatures to try for a window: six for 30 s, two for a few seconds, spread evenly."""
    count = min(len(_TEMPERATURES), 1 + max(1, ceil(seconds / _RETRY_STEP_S)))
    last = len(_TEMPERATURES) - 1
    return tuple(_TEMPERATURES[round(number * last / (count - 1))] for number in range(count))


def max_tokens(seconds: float, model: WindowModel) -> int:
    """Return the number of tokens to decode at most: the model's limit, or fewer for a short window."""
    return min(model.max_text_tokens, _EXTRA_TOKENS + ceil(seconds * _MAX_TOKENS_PER_S))


def language_code(text: str) -> str | None:
    """
    Return the code of a language; None for ''.

    Args:
        text: a code or an English name, as the `whisper` command accepts them, or ''.

    Raises:
        InputError: Whisper does not support the language.
    """
    name = text.strip().lower()
    if not name:
        return None
    code = name if name in LANGUAGES else TO_LANGUAGE_CODE.get(name)
    if code is None:
        raise InputError(
            f"Whisper does not support the language {text!r}; use a code such as en or de.", language=text
        )
    return code
