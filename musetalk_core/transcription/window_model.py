"""The interface of a loaded Whisper model, which openai-whisper and CTranslate2 implement."""

import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

import torch
from whisper.decoding import DecodingOptions, DecodingResult
from whisper.tokenizer import Tokenizer

from musetalk_core.transcription.transcript import Language, WhisperTask

Check = Callable[[], None]
"""Called many times a second; an exception it raises aborts the work."""

DECODE_LOCK: Final = threading.Lock()
"""Hold for each window: decoding stores state on the network, and word timing sets a flag in the library."""


class WindowModel(Protocol):
    """
    A loaded Whisper model that decodes windows of 30 s.

    A window is the value that `prepare` returns; its type belongs to the engine. Hold `DECODE_LOCK` for each
    window, except for `prepare`.
    """

    @property
    def mels(self) -> int:
        """Number of mel bands: 80, or 128 for large-v3."""
        ...

    @property
    def max_text_tokens(self) -> int:
        """Maximum tokens that one attempt at a window decodes."""
        ...

    def tokenizer(self, language: str, task: WhisperTask) -> Tokenizer:
        """Return the tokenizer for a language code and a task."""
        ...

    def prepare(self, window: torch.Tensor) -> Any:
        """Return the input of the other methods from a log-mel window, (mels, T) with T up to 3000 frames."""
        ...

    def detect_language(self, window: Any, check: Check) -> Language:
        """Detect the language of a window; an English-only model returns "en"."""
        ...

    def decode(self, window: Any, options: DecodingOptions, check: Check) -> DecodingResult:
        """Decode a window once. The same window and options give the same result, at every temperature."""
        ...

    def add_word_times(
        self,
        lines: list[dict[str, Any]],
        window: Any,
        tokenizer: Tokenizer,
        frames: int,
        last_word_s: float,
        check: Check,
    ) -> None:
        """
        Add `words` to the lines of a window, and move their starts and ends to the words.

        Args:
            lines:       `seek` (frames), `start`, `end` (seconds from the start of the sound), `tokens`.
            window:      from `prepare`.
            tokenizer:   see `tokenizer`.
            frames:      frames of sound in the window, up to 3000.
            last_word_s: end of the last word of the previous windows, in seconds.
            check:       see `Check`.
        """
        ...
