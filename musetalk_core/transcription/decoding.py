"""Decoding of one 30 s window with Whisper: options, temperature fallback, language detection."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from operator import itemgetter
from typing import Any, Final, cast

import torch
from whisper.decoding import DecodingOptions, DecodingResult
from whisper.model import Whisper
from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE, Tokenizer, get_tokenizer

from musetalk_core.errors import InputError
from musetalk_core.transcription.spectrogram import WINDOW_FRAMES
from musetalk_core.transcription.transcript import Language, WhisperTask
from musetalk_core.transcription.whisper_model import LoadedWhisper

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
    """A loaded model with a language (code) and decoding options."""

    whisper_model: LoadedWhisper
    language: str
    options: DecodeOptions

    @property
    def net(self) -> Whisper:
        """The openai-whisper model."""
        return self.whisper_model.net

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer for the language and the task."""
        net = self.net
        return get_tokenizer(
            net.is_multilingual,
            num_languages=net.num_languages,
            language=self.language,
            task=self.options.task,
        )

    def decode(
        self, window: torch.Tensor, prompt: list[int], seconds: float, *, may_retry: bool = True
    ) -> DecodingResult | None:
        """
        Decode a window, at increasing temperatures until the result passes the thresholds.

        The number of attempts and of their tokens is bounded by the length of the sound. The same window and
        prompt give the same result, at every temperature.

        Args:
            window:    (mels, 3000) from `prepare_window`.
            prompt:    tokens of the previous text.
            seconds:   length of the sound in the window.
            may_retry: False for a single attempt.

        Returns:
            The first result that passes, otherwise the last one; None if the window contains no speech.
        """
        result: DecodingResult | None = None
        for temperature in temperatures_for(seconds) if may_retry else _TEMPERATURES[:1]:
            result = self._decode_at(window, prompt, temperature, max_tokens(seconds, self.net))
            is_uncertain = result.avg_logprob < _MIN_AVG_LOGPROB
            if is_uncertain and result.no_speech_prob > _NO_SPEECH_THRESHOLD:
                return None
            if not is_uncertain and result.compression_ratio <= _MAX_COMPRESSION_RATIO:
                return result
        return result

    def _decode_at(
        self, window: torch.Tensor, prompt: list[int], temperature: float, sample_len: int
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
            fp16=self.whisper_model.uses_fp16,
        )
        with _seeded(self.net.device):
            # it returns a list only for a batch
            return cast(DecodingResult, self.net.decode(window, decoding_options))


def temperatures_for(seconds: float) -> tuple[float, ...]:
    """Return the temperatures to try for a window: six for 30 s, two for a few seconds, spread evenly."""
    count = min(len(_TEMPERATURES), 1 + max(1, ceil(seconds / _RETRY_STEP_S)))
    last = len(_TEMPERATURES) - 1
    return tuple(_TEMPERATURES[round(number * last / (count - 1))] for number in range(count))


def max_tokens(seconds: float, net: Whisper) -> int:
    """Return the number of tokens to decode at most: the library's limit, or fewer for a short window."""
    library_limit = net.dims.n_text_ctx // 2
    return min(library_limit, _EXTRA_TOKENS + ceil(seconds * _MAX_TOKENS_PER_S))


@contextmanager
def _seeded(device: torch.device) -> Generator[None]:
    """Seed the sampling of one attempt, and restore the state of torch's generators afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


def prepare_window(window: torch.Tensor, whisper_model: LoadedWhisper) -> torch.Tensor:
    """Pad a (mels, T) window to (mels, 3000) and move it to the device and precision of the model."""
    padded = torch.nn.functional.pad(window, (0, WINDOW_FRAMES - window.shape[-1]))
    return padded.to(whisper_model.net.device, torch.float16 if whisper_model.uses_fp16 else torch.float32)


def detect_language(window: torch.Tensor, whisper_model: LoadedWhisper) -> Language:
    """Detect the language of a window from `prepare_window`; an English-only model returns "en"."""
    if not whisper_model.net.is_multilingual:
        return Language("en")
    detected: Any = whisper_model.net.detect_language(window)
    probabilities: dict[str, float] = detected[1]
    code, probability = max(probabilities.items(), key=itemgetter(1))
    return Language(code, probability)


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
