"""CSM (Conversational Speech Model) with transformers: loading, context trimming, generation."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from musetalk_core.errors import EngineOutOfMemory, InputError, WeightsInvalid
from musetalk_core.installation import command
from musetalk_core.model_registry.linked_folder import linked_folder
from musetalk_core.model_registry.pins import PinnedModel
from musetalk_core.networks.checkpoint import copy_out_of_mapped_files
from musetalk_core.runtime.config import RuntimeConfig
from musetalk_core.runtime.device import Device, choose_device
from musetalk_core.runtime.model_cache import get_loaded_model
from musetalk_core.types import VOICE_RATE_HZ, Float

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

MODEL_NAME: Final = "csm-1b"
"""Name in the model registry."""
RATE_HZ: Final = VOICE_RATE_HZ
FRAME_S: Final = 0.08
"""Length of one generation step in seconds: all codebooks of 80 ms of sound."""

_SPECIAL_TOKENS: Final = re.compile(r"<\|[^<|>\n]*\|>|<\||\|>")

_generate_lock = threading.Lock()
"""Allows one generation at a time per process: sampling uses torch's global random state."""


@dataclass(frozen=True, slots=True, eq=False)
class ContextTurn:
    """An earlier utterance given as context: its exact words and (S,) float32 samples at 24 kHz, mono."""

    text: str
    samples: Float


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling options: temperature 0 always takes the likeliest token; `topk` limits the candidates."""

    temperature: float = 0.9
    topk: int = 50


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """
    The result of one generation.

    Attributes:
        samples: (S,) float32 at 24 kHz, mono; empty if the first frame was the end token.
        ended:   whether the model emitted its end token within the frame limit.
    """

    samples: Float
    ended: bool


class Csm:
    """A loaded CSM model: its networks, its processor and its device."""

    def __init__(self, model: Any, processor: Any, device: Device) -> None:
        self.model, self._processor, self._device = model, processor, device

    @property
    def max_positions(self) -> int:
        """Context length: the most text tokens and audio frames of one utterance, context included."""
        return int(self.model.config.max_position_embeddings)

    def trim_context(self, context: Sequence[ContextTurn], text: str, frames: int) -> list[ContextTurn]:
        """
        Return the turns that fit into the context length together with the text and the frames to generate.

        The first turn is the voice prompt and is always kept; of the others the oldest are dropped first. The
        model raises no error for longer input; its output degrades.

        Args:
            context: the voice prompt, then earlier sentences.
            text:    the sentence to generate.
            frames:  maximum number of frames to generate.

        Raises:
            InputError: the voice prompt and the text alone are too long.
        """
        kept_turns = list(context)
        while (length := self._prompt_length(kept_turns, text)) + frames > self.max_positions:
            if len(kept_turns) < 2:
                raise InputError(
                    "The reference recording, its text and the sentence together exceed the context length of"
                    " the speech model; send a shorter recording.",
                    positions=self.max_positions,
                    needed=length + frames,
                )
            del kept_turns[1]
        return kept_turns

    def _prompt_length(self, context: Sequence[ContextTurn], text: str) -> int:
        return int(self._encode_prompt(context, text)["input_ids"].shape[1])

    def _encode_prompt(self, context: Sequence[ContextTurn], text: str) -> Mapping[str, torch.Tensor]:
        processor: Any = self._processor
        tokenizer, recordings = processor.tokenizer, [turn.samples for turn in context]
        bos, eos, audio_tokens = (
            tokenizer.bos_token,
            tokenizer.eos_token,
            processor.audio_token + processor.audio_eos_token,
        )
        context_text = "".join(
            f"{bos}[0]{_strip_special_tokens(turn.text)}{eos}{audio_tokens}" for turn in context
        )
        return processor(
            text=f"{context_text}{bos}[0]{_strip_special_tokens(text)}{eos}", audio=recordings or None
        )

    def generate(
        self,
        text: str,
        context: Sequence[ContextTurn],
        frames: int,
        sampling: Sampling,
        seed: int,
        on_frame: Callable[[int], None] = lambda _: None,
    ) -> Generation:
        """
        Generate a sentence once.

        Args:
            text:     the words of the sentence.
            context:  the turns that `trim_context` returned.
            frames:   maximum number of frames of 80 ms.
            sampling: sampling options.
            seed:     the same seed, context and device give the same codes; decoded samples may be rounded
                differently on a GPU.
            on_frame: called with the number of frames so far; an exception it raises aborts the generation.

        Raises:
            EngineOutOfMemory: the device ran out of memory.
        """
        torch_device = self._device.torch_device
        inputs = {
            name: part.to(torch_device, dtype=self._device.dtype if part.is_floating_point() else None)
            for name, part in self._encode_prompt(context, text).items()
        }
        sampling_options: dict[str, Any] = {"do_sample": sampling.temperature > 0}
        if sampling.temperature > 0:
            sampling_options |= {"temperature": sampling.temperature, "top_k": sampling.topk}
        generate_options = sampling_options | {
            f"depth_decoder_{name}": value for name, value in sampling_options.items()
        }
        model: Any = self.model
        with (
            _generate_lock,
            _seeded_random(seed, torch_device),
            _translate_memory_errors(),
            torch.inference_mode(),
        ):
            batch_codes = model.generate(
                **inputs, **generate_options, max_new_tokens=frames, streamer=_FrameCounter(on_frame)
            )
            return self._decode_codes(batch_codes[0])

    def _decode_codes(self, codes: torch.Tensor) -> Generation:
        """Decode (T, codebooks) codes up to the end frame: all codebooks but the last hold the end token."""
        codec: Any = self.model.codec_model
        end: Any = self.model.config.codebook_eos_token_id
        end_frames = codes[:, :-1].eq(end).all(-1).nonzero()
        codes = codes[: int(end_frames[0])] if len(end_frames) else codes
        if not len(codes):
            return Generation(np.zeros(0, np.float32), ended=True)
        # codes beyond the codec's codebook are padding that the model may still sample
        codes = codes.clamp(max=codec.config.codebook_size - 1)
        waveform = codec.decode(codes.T[None]).audio_values[0, 0]
        return Generation(waveform.float().cpu().numpy(), ended=bool(len(end_frames)))


def _strip_special_tokens(text: str) -> str:
    """Replace special tokens of the processor, such as the audio token, by spaces."""
    return _SPECIAL_TOKENS.sub(" ", text)


class _FrameCounter:
    """A streamer for transformers' `generate` that reports the number of frames generated."""

    def __init__(self, on_frame: Callable[[int], None]) -> None:
        self._on_frame, self._count = on_frame, -1

    def put(self, value: torch.Tensor) -> None:
        """Count a frame; the first call passes the prompt."""
        self._count += 1
        if self._count:
            self._on_frame(self._count)

    def end(self) -> None:
        """Do nothing; transformers calls this method after the last token."""


@contextmanager
def _seeded_random(seed: int, torch_device: torch.device) -> Generator[None]:
    cuda_devices = [torch_device] if torch_device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda_devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def _translate_memory_errors() -> Generator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EngineOutOfMemory("The device ran out of memory during speech generation.") from error


def choose_csm_device(machine: RuntimeConfig) -> Device:
    """Return device and precision: on a GPU bfloat16, as trained, unless a precision is configured."""
    device = choose_device(machine.device, machine.precision)
    if machine.precision == "auto" and device.torch_device.type == "cuda":
        return Device(device.torch_device, torch.bfloat16)
    return device


def load_csm(machine: RuntimeConfig, pinned: PinnedModel | None = None) -> Csm:
    """
    Return the model of this process; load it if it is not in the model cache.

    Args:
        machine: location of the weights, device and precision.
        pinned:  hashes of the files to load; None: the files installed now.

    Raises:
        ModelNotInstalled: a file is missing.
        ModelChanged: the files differ from the pinned ones.
        WeightsInvalid: the files are damaged or not a CSM model.
    """
    device = choose_csm_device(machine)
    if pinned is None:
        (pinned,) = machine.local_models.pin(MODEL_NAME)
    return get_loaded_model(machine, pinned, (device.name,), lambda files: _load_from_files(files, device))


def _load_from_files(files: Mapping[str, Path], device: Device) -> Csm:
    """Load the model from files in Hugging Face's layout; no network access."""
    from safetensors import SafetensorError

    # not an import statement: the type checker would read 2,700 files more
    transformers: Any = import_module("transformers")

    transformers.utils.logging.disable_progress_bar()
    try:
        with linked_folder(files.values()) as folder:
            processor: Any = transformers.CsmProcessor.from_pretrained(folder, local_files_only=True)
            from_pretrained: Any = transformers.CsmForConditionalGeneration.from_pretrained
            model, loading_info = from_pretrained(
                folder,
                dtype=device.dtype,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        if loading_info["missing_keys"] or loading_info["mismatched_keys"]:
            raise ValueError(f"{len(loading_info['missing_keys'])} weights are missing")  # noqa: TRY301  one message
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise WeightsInvalid(
            f"The files of {MODEL_NAME} cannot be loaded ({str(error).splitlines()[0][:200]}). Run:"
            f" {command(f'weights verify {MODEL_NAME}')}",
            model=MODEL_NAME,
        ) from error
    model = model.to(device.torch_device).eval()
    copy_out_of_mapped_files(model)
    return Csm(model, processor, device)
