"""Whisper in OpenAI's implementation: loading of its or of Hugging Face's files, and decoding."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import torch
import whisper
from torch import nn
from whisper.decoding import DecodingOptions, DecodingResult
from whisper.model import Whisper
from whisper.timing import add_word_timestamps
from whisper.tokenizer import Tokenizer, get_tokenizer

from musetalk_core.errors import WeightsInvalid
from musetalk_core.networks.checkpoint import assign_weights
from musetalk_core.runtime.device import Device
from musetalk_core.transcription.checkpoint_tensors import read_whisper_tensors
from musetalk_core.transcription.model_choice import WhisperSize
from musetalk_core.transcription.spectrogram import WINDOW_FRAMES
from musetalk_core.transcription.transcript import Language, WhisperTask
from musetalk_core.transcription.window_model import Check


@dataclass(frozen=True, slots=True, eq=False)
class LoadedWhisper:
    """
    A loaded Whisper model of openai-whisper; a `WindowModel`.

    Attributes:
        net:       openai-whisper's model on its device, in eval mode.
        uses_fp16: whether it computes in float16.
    """

    net: Whisper
    uses_fp16: bool

    @property
    def mels(self) -> int:
        """Number of mel bands: 80, or 128 for large-v3."""
        return self.net.dims.n_mels

    @property
    def max_text_tokens(self) -> int:
        """The library's limit."""
        return self.net.dims.n_text_ctx // 2

    def tokenizer(self, language: str, task: WhisperTask) -> Tokenizer:
        """Return the tokenizer for a language code and a task."""
        net = self.net
        return get_tokenizer(
            net.is_multilingual, num_languages=net.num_languages, language=language, task=task
        )

    def prepare(self, window: torch.Tensor) -> torch.Tensor:
        """Pad a (mels, T) window to (mels, 3000) and move it to the device and precision of the model."""
        padded = torch.nn.functional.pad(window, (0, WINDOW_FRAMES - window.shape[-1]))
        return padded.to(self.net.device, torch.float16 if self.uses_fp16 else torch.float32)

    def detect_language(self, window: torch.Tensor, check: Check) -> Language:
        """Detect the language of a window; an English-only model returns "en"."""
        if not self.net.is_multilingual:
            return Language("en")
        with _checked_blocks(self.net, check):
            detected: Any = self.net.detect_language(window)
        probabilities: dict[str, float] = detected[1]
        code, probability = max(probabilities.items(), key=itemgetter(1))
        return Language(code, probability)

    def decode(self, window: torch.Tensor, options: DecodingOptions, check: Check) -> DecodingResult:
        """Decode a window once; sampling is seeded."""
        with _seeded(self.net.device), _checked_blocks(self.net, check):
            # it returns a list only for a batch
            return cast(DecodingResult, self.net.decode(window, options, fp16=self.uses_fp16))

    def add_word_times(
        self,
        lines: list[dict[str, Any]],
        window: torch.Tensor,
        tokenizer: Tokenizer,
        frames: int,
        last_word_s: float,
        check: Check,
    ) -> None:
        """Add `words` to the lines of a window; see `WindowModel`."""
        with _alignment_hooks_removed(self.net), _checked_blocks(self.net, check):
            add_word_timestamps(
                segments=lines,
                model=self.net,
                tokenizer=tokenizer,
                mel=window,
                num_frames=frames,
                last_speech_timestamp=last_word_s,
            )


@contextmanager
def _seeded(device: torch.device) -> Generator[None]:
    """Seed the sampling of one attempt, and restore the state of torch's generators afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


@contextmanager
def _checked_blocks(net: Whisper, check: Check) -> Generator[None]:
    """Call `check` before each block of the networks runs: a window can take minutes on a CPU."""

    def before_block(*_: object) -> None:
        check()

    handles = [
        block.register_forward_pre_hook(before_block) for block in (*net.encoder.blocks, *net.decoder.blocks)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _alignment_hooks_removed(net: Whisper) -> Generator[None]:
    """Remove the hooks that the library's word timing leaves on the network if it is aborted."""
    try:
        yield
    except BaseException:
        for block in net.decoder.blocks:
            hooks = block.get_submodule("cross_attn")._forward_hooks  # pyright: ignore[reportPrivateUsage]  no other way
            hooks.clear()
        raise


class _BeamSharedCrossAttention(nn.Module):
    """
    Cross-attention that computes all beams against the one shared audio encoding in a single call.

    openai-whisper's module attends to the audio once per beam, which takes half of the decoding time.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(
        self, x: torch.Tensor, xa: torch.Tensor, mask: torch.Tensor | None = None, kv_cache: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend from x (beams, T, D) to the audio xa (1, A, D), with the result of the wrapped module."""
        beams, count, width = x.shape
        out, weights = self.inner(x.reshape(len(xa), -1, width), xa, mask, kv_cache)
        return out.reshape(beams, count, width), weights


def load_whisper_model(path: Path, size: WhisperSize, device: Device) -> LoadedWhisper:
    """
    Load a Whisper model.

    Args:
        path:   a checkpoint of openai-whisper (`torch.save`), or `model.safetensors` or `pytorch_model.bin`
            of the same model from Hugging Face.
        size:   size of the model; selects the attention heads for word timestamps.
        device: device and precision. Half precision is used only for float16 on CUDA.

    Raises:
        ModelNotInstalled: the file does not exist.
        WeightsInvalid: the file is damaged or not a Whisper model; the message names the wrong tensors.
    """
    tensors, dims = read_whisper_tensors(path)
    net = Whisper(dims)
    assign_weights(net, {key: value.float() for key, value in tensors.items()}, path)
    heads: dict[str, bytes] = whisper._ALIGNMENT_HEADS  # pyright: ignore[reportPrivateUsage]  used by its load_model
    try:
        net.set_alignment_heads(heads[size])
    except ValueError as error:
        raise _wrong_size_error(path, size) from error
    if net.is_multilingual == size.endswith(".en"):
        raise _wrong_size_error(path, size)
    # word timing needs float64, which MPS lacks
    torch_device = device.torch_device if device.torch_device.type != "mps" else torch.device("cpu")
    for block in net.decoder.blocks:
        setattr(block, "cross_attn", _BeamSharedCrossAttention(block.get_submodule("cross_attn")))  # noqa: B010  another type
    uses_fp16 = torch_device.type == "cuda" and device.dtype == torch.float16
    return LoadedWhisper((_convert_to_half(net) if uses_fp16 else net).to(torch_device).eval(), uses_fp16)


def _wrong_size_error(path: Path, size: WhisperSize) -> WeightsInvalid:
    return WeightsInvalid(f"The weight file {path} is another Whisper model, not {size}.", file=path.name)


def _convert_to_half(net: Whisper) -> Whisper:
    """
    Convert the weights that are used in float16 once; the library would convert each of them at every use.

    Layer norms and positional embeddings stay float32: the library computes with them in float32.
    """
    for part in net.modules():
        if isinstance(part, nn.Linear | nn.Conv1d | nn.Embedding):
            part.half()
    return net
