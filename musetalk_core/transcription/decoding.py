"""One window: from its spectrogram to what is said in it, with other tries when a try looks wrong."""

from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, cast

import torch
from whisper.decoding import DecodingOptions, DecodingResult
from whisper.model import Whisper
from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE, Tokenizer, get_tokenizer

from musetalk_core.errors import InputError
from musetalk_core.transcription.network import Hearing
from musetalk_core.transcription.records import Language, Task
from musetalk_core.transcription.spectrogram import WINDOW_FRAMES

_TEMPERATURES: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_REPETITIVE: Final = 2.4
"""Compression ratio above which a text repeats itself."""
_UNSURE: Final = -1.0
"""Mean logarithm of probabilities below which a text is a guess."""
_SILENT: Final = 0.6
"""Probability of no speech above which a guess is taken for silence."""
PROMPT_TOKENS: Final = 223
"""What the model takes of the text before."""


@dataclass(frozen=True, slots=True)
class Options:
    """
    How to decode; defaults, and all thresholds here, are those of the `whisper` command.

    Attributes:
        task:      transcribe, or translate to English.
        beam_size: beams of the first try; 1 decodes greedily.
        best_of:   samples of every further one.
        words:     whether words get times.
    """

    task: Task = "transcribe"
    beam_size: int = 5
    best_of: int = 5
    words: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """A model with a language and options."""

    hearing: Hearing
    language: str
    options: Options

    @property
    def net(self) -> Whisper:
        """The network itself."""
        return self.hearing.net

    @property
    def tokenizer(self) -> Tokenizer:
        """Tokens of the language and the task."""
        net = self.net
        return get_tokenizer(
            net.is_multilingual,
            num_languages=net.num_languages,
            language=self.language,
            task=self.options.task,
        )

    def decode(self, window: torch.Tensor, prompt: list[int]) -> DecodingResult | None:
        """
        Decode a window.

        Args:
            window: (mels, 3000) as `ready` gives it.
            prompt: tokens of the text before it.

        Returns:
            The first try that looks right, else the last one; None when it holds no speech.
        """
        result: DecodingResult | None = None
        for temperature in _TEMPERATURES:
            result = self._tried(window, prompt, temperature)
            is_guess = result.avg_logprob < _UNSURE
            if is_guess and result.no_speech_prob > _SILENT:
                return None
            if not is_guess and result.compression_ratio <= _REPETITIVE:
                return result
        return result

    def _tried(self, window: torch.Tensor, prompt: list[int], temperature: float) -> DecodingResult:
        first, options = temperature == 0, self.options
        chosen = DecodingOptions(
            task=options.task,
            language=self.language,
            temperature=temperature,
            beam_size=options.beam_size if first and options.beam_size > 1 else None,
            best_of=None if first else options.best_of,
            prompt=prompt,
            fp16=self.hearing.half,
        )
        return cast(DecodingResult, self.net.decode(window, chosen))  # a list only for several windows


def ready(window: torch.Tensor, hearing: Hearing) -> torch.Tensor:
    """Fill a window up to (mels, 3000) and bring it to the model."""
    whole = torch.nn.functional.pad(window, (0, WINDOW_FRAMES - window.shape[-1]))
    return whole.to(hearing.net.device, torch.float16 if hearing.half else torch.float32)


def detect_language(window: torch.Tensor, hearing: Hearing) -> Language:
    """Tell which language a window, as `ready` gives it, is in; a model of one language has no choice."""
    if not hearing.net.is_multilingual:
        return Language("en")
    found: Any = hearing.net.detect_language(window)
    probabilities: dict[str, float] = found[1]
    code, probability = max(probabilities.items(), key=itemgetter(1))
    return Language(code, probability)


def language_code(text: str) -> str | None:
    """
    Read a language.

    Args:
        text: a code or an English name, as `whisper` takes them; '' for none.

    Raises:
        InputError: Whisper knows no such language.
    """
    word = text.strip().lower()
    if not word:
        return None
    code = word if word in LANGUAGES else TO_LANGUAGE_CODE.get(word)
    if code is None:
        raise InputError(f"Whisper knows no language {text!r}; write a code such as en or de.", language=text)
    return code
