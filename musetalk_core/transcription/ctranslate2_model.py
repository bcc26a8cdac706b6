"""Whisper in CTranslate2's implementation: loading (int8 on CPUs, float16 on GPUs) and decoding."""

import base64
import gzip
import json
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import ctranslate2
import numpy as np
import numpy.typing as npt
import torch
import whisper
from whisper import timing
from whisper.decoding import DecodingOptions, DecodingResult
from whisper.timing import WordTiming
from whisper.tokenizer import Tokenizer, get_tokenizer
from whisper.utils import compression_ratio

from musetalk_core.errors import WeightsInvalid
from musetalk_core.runtime.device import Device
from musetalk_core.transcription.ctranslate2_import import read_dimensions
from musetalk_core.transcription.model_choice import WhisperSize
from musetalk_core.transcription.spectrogram import WINDOW_FRAMES
from musetalk_core.transcription.transcript import Language, WhisperTask
from musetalk_core.transcription.window_model import Check

_SEED: Final = 0
"""Every model instance samples from the start of this sequence."""
_POLL_S: Final = 0.02
"""Interval of the checks for cancellation while a window is decoded."""
_FRAMES_PER_STEP: Final = 2
"""Spectrogram frames per step of the encoder's output."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Content and options of a model, for further instances of it."""

    files: dict[str, bytes]
    device: str
    compute_type: str

    def open(self) -> Any:
        # the random generator belongs to the instance's thread, which takes the seed at its first use
        ctranslate2.set_random_seed(_SEED)
        return ctranslate2.models.Whisper(
            "whisper",
            device=self.device,
            compute_type=self.compute_type,
            intra_threads=torch.get_num_threads(),
            files=self.files,
        )


@dataclass(frozen=True, slots=True, eq=False)
class LoadedCTranslate2:
    """
    A loaded Whisper model of CTranslate2; a `WindowModel`.

    Attributes:
        model:        CTranslate2's model.
        source:       its content. A sampled attempt runs on an instance of its own, because the random
            generator of an instance cannot be seeded again.
        dims:         openai-whisper's dimensions.
        memory_bytes: upper bound of the memory that it occupies.
    """

    model: Any
    source: _Source
    dims: dict[str, int]
    memory_bytes: int

    @property
    def mels(self) -> int:
        """Number of mel bands: 80, or 128 for large-v3."""
        return self.dims["n_mels"]

    @property
    def max_text_tokens(self) -> int:
        """The limit of openai-whisper."""
        return self.dims["n_text_ctx"] // 2

    def tokenizer(self, language: str, task: WhisperTask) -> Tokenizer:
        """Return openai-whisper's tokenizer for a language code and a task."""
        return _tokenizer(self.dims, language, task)

    def prepare(self, window: torch.Tensor) -> Any:
        """Encode a (mels, T) window, padded to 3000 frames. The encoding serves all attempts."""
        padded = torch.nn.functional.pad(window, (0, WINDOW_FRAMES - window.shape[-1]))
        features = np.ascontiguousarray(padded.numpy()[None], np.float32)
        return self.model.encode(ctranslate2.StorageView.from_array(features))

    def detect_language(self, window: Any, check: Check) -> Language:
        """Detect the language of a window; an English-only model returns "en"."""
        check()
        if not self.model.is_multilingual:
            return Language("en")
        token, probability = self.model.detect_language(window)[0][0]
        return Language(token.strip("<|>"), float(probability))

    def decode(self, window: Any, options: DecodingOptions, check: Check) -> DecodingResult:
        """Decode a window once; an aborted attempt ends in the background after at most this window."""
        assert options.language is not None and options.sample_len is not None  # noqa: S101  narrows the types
        task: WhisperTask = "translate" if options.task == "translate" else "transcribe"
        tokenizer = self.tokenizer(options.language, task)
        prompt = [*_previous_text(options.prompt, tokenizer), *tokenizer.sot_sequence]
        is_sampled = options.temperature > 0
        model = self.source.open() if is_sampled else self.model
        [pending] = model.generate(
            window,
            [prompt],
            asynchronous=True,
            beam_size=1 if is_sampled else options.beam_size or 1,
            num_hypotheses=options.best_of or 1 if is_sampled else 1,
            sampling_topk=0 if is_sampled else 1,
            sampling_temperature=options.temperature if is_sampled else 1.0,
            max_length=_max_length(options.sample_len, len(prompt), self.dims["n_text_ctx"]),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=_suppressed_tokens(tokenizer),
        )
        while not pending.done():
            check()
            time.sleep(_POLL_S)
        return _to_result(pending.result(), tokenizer, options)

    def add_word_times(
        self,
        lines: list[dict[str, Any]],
        window: Any,
        tokenizer: Tokenizer,
        frames: int,
        last_word_s: float,
        check: Check,
    ) -> None:
        """Add `words` to the lines of a window, by openai-whisper's rules from CTranslate2's alignment."""
        check()
        _words_with(_align)(
            segments=lines,
            model=self.model,
            tokenizer=tokenizer,
            mel=window,
            num_frames=frames,
            last_speech_timestamp=last_word_s,
        )
        check()


def load_ctranslate2_model(parts: Sequence[Path], size: WhisperSize, device: Device) -> LoadedCTranslate2:
    """
    Load a Whisper model in CTranslate2's format. Vocabulary and options come from openai-whisper.

    Args:
        parts:  the file `model.bin`, possibly split into several, in order.
        size:   size of the model; selects the attention heads for word timestamps.
        device: CPUs compute in int8; CUDA in float16, or in float32 if the device says so; other devices
            are not supported by the library and replaced by the CPU.

    Raises:
        WeightsInvalid: the parts are damaged or not this Whisper model.
    """
    content = b"".join(part.read_bytes() for part in parts)
    name = parts[0].name
    dims = read_dimensions(content, name)
    heads = _alignment_heads(size, dims)
    is_multilingual = dims["n_vocab"] >= _MULTILINGUAL_TOKENS
    if heads is None or is_multilingual == size.endswith(".en"):
        raise WeightsInvalid(f"The weight file {name} is another Whisper model, not {size}.", file=name)
    is_cuda = device.torch_device.type == "cuda"
    cuda_type = "float16" if device.dtype == torch.float16 else "float32"
    source = _Source(
        {"model.bin": content, **_description(dims, heads)},
        "cuda" if is_cuda else "cpu",
        cuda_type if is_cuda else "int8",
    )
    try:
        model = source.open()
    except (RuntimeError, ValueError) as error:
        raise WeightsInvalid(f"CTranslate2 cannot load {name}: {error}", file=name) from error
    return LoadedCTranslate2(model, source, dims, 2 * len(content))


_MULTILINGUAL_TOKENS: Final = 51865
"""Least size of the vocabulary of a multilingual model."""


def _tokenizer(dims: dict[str, int], language: str | None, task: WhisperTask | None) -> Tokenizer:
    is_multilingual = dims["n_vocab"] >= _MULTILINGUAL_TOKENS
    languages = dims["n_vocab"] - 51765 - int(is_multilingual)
    return get_tokenizer(is_multilingual, num_languages=languages, language=language, task=task)


def _alignment_heads(size: WhisperSize, dims: dict[str, int]) -> list[list[int]] | None:
    """Return layer and head of the alignment heads; None if the dimensions are those of another size."""
    packed: bytes = whisper._ALIGNMENT_HEADS[size]  # pyright: ignore[reportPrivateUsage]  used by its load_model
    mask = np.frombuffer(gzip.decompress(base64.b85decode(packed)), bool)
    shape = dims["n_text_layer"], dims["n_text_head"]
    return np.argwhere(mask.reshape(shape)).tolist() if mask.size == shape[0] * shape[1] else None


def _description(dims: dict[str, int], heads: list[list[int]]) -> dict[str, bytes]:
    """Return the files that describe a model: options, and the names of its tokens."""
    tokenizer = _tokenizer(dims, None, None)
    vocabulary = _token_names(tokenizer, dims["n_vocab"])
    config = {
        "bos_token": "<|startoftranscript|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "alignment_heads": heads,
        "lang_ids": list(tokenizer.all_language_tokens),
        "suppress_ids": list(_suppressed_tokens(tokenizer)),
        "suppress_ids_begin": [*tokenizer.encode(" "), tokenizer.eot],
    }
    return {
        "config.json": json.dumps(config).encode(),
        "vocabulary.json": json.dumps(vocabulary).encode(),
    }


def _token_names(tokenizer: Tokenizer, count: int) -> list[str]:
    """
    Return the names of all tokens in the notation of GPT-2: one printable character for each byte.

    The library knows a multilingual model by the names of ordinary tokens.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in set(printable)]
    characters = {byte: chr(byte) for byte in printable}
    characters |= {byte: chr(0x100 + place) for place, byte in enumerate(others)}
    names = {number: name for name, number in tokenizer.special_tokens.items()}
    for number in range(count):
        if number not in names:
            content = tokenizer.encoding.decode_single_token_bytes(number)
            names[number] = "".join(characters[byte] for byte in content)
    return [names[number] for number in range(count)]


def _suppressed_tokens(tokenizer: Tokenizer) -> list[int]:
    """Return the tokens that openai-whisper never decodes by default."""
    special = [tokenizer.transcribe, tokenizer.translate, tokenizer.sot, tokenizer.sot_prev, tokenizer.sot_lm]
    return sorted({*tokenizer.non_speech_tokens, *special, tokenizer.no_speech})


def _previous_text(prompt: str | list[int] | None, tokenizer: Tokenizer) -> list[int]:
    return [tokenizer.sot_prev, *prompt] if prompt and not isinstance(prompt, str) else []


def _max_length(tokens: int, prompt: int, context: int) -> int:
    """Return the library's `max_length` for a number of tokens: it halves it, and subtracts the prompt."""
    return min(context, max(2 * tokens, tokens + prompt))


def _to_result(found: Any, tokenizer: Tokenizer, options: DecodingOptions) -> DecodingResult:
    best = int(np.argmax(found.scores))
    tokens = [int(token) for token in found.sequences_ids[best]]
    text = tokenizer.decode([token for token in tokens if token < tokenizer.eot]).strip()
    return DecodingResult(
        audio_features=torch.empty(0),
        language=options.language or "",
        tokens=tokens,
        text=text,
        # openai-whisper counts the end of the text as a token
        avg_logprob=float(found.scores[best]) * len(tokens) / (len(tokens) + 1),
        no_speech_prob=float(found.no_speech_prob),
        temperature=options.temperature,
        compression_ratio=compression_ratio(text),
    )


def _words_with(align: Callable[..., list[WordTiming]]) -> Callable[..., None]:
    """Return openai-whisper's `add_word_timestamps` with another function that aligns text and sound."""
    rules = timing.add_word_timestamps
    names = {**vars(timing), "find_alignment": align}
    function = types.FunctionType(rules.__code__, names)
    function.__kwdefaults__ = rules.__kwdefaults__
    return function


def _align(
    model: Any, tokenizer: Tokenizer, text_tokens: list[int], window: Any, frames: int
) -> list[WordTiming]:
    """Return words with times from the start of the window, as openai-whisper's `find_alignment`."""
    words, word_tokens = tokenizer.split_to_word_tokens([*text_tokens, tokenizer.eot])
    if len(word_tokens) <= 1:
        return []
    [found] = model.align(window, tokenizer.sot_sequence, [text_tokens], frames, median_filter_width=7)
    text_steps, time_steps = np.array(found.alignments).T
    is_jump = np.diff(text_steps, prepend=text_steps[0] - 1) > 0
    times: npt.NDArray[np.float64] = time_steps[is_jump] * _FRAMES_PER_STEP / 100
    bounds = np.cumsum([0, *(len(tokens) for tokens in word_tokens[:-1])])
    starts, ends = times[bounds[:-1]], times[bounds[1:]]
    probabilities = [float(np.mean(found.text_token_probs[i:j])) for i, j in pairwise(bounds)]
    return [
        WordTiming(word, tokens, float(start), float(end), probability)
        for word, tokens, start, end, probability in zip(
            words[:-1], word_tokens[:-1], starts, ends, probabilities, strict=True
        )
    ]
