"""The CSM model of a process: loaded from its files, asked for one utterance at a time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from musetalk_core.errors import EngineOutOfMemory, InputError, WeightsInvalid
from musetalk_core.machine import Machine
from musetalk_core.nets.checkpoint import release_files
from musetalk_core.nets.device import Device, choose_device
from musetalk_core.nets.shelf import loaded_model
from musetalk_core.types import VOICE_RATE_HZ, Float
from musetalk_core.weights.linked_folder import linked_folder
from musetalk_core.weights.pins import PinnedModel

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from transformers import CsmForConditionalGeneration, CsmProcessor

MODEL: Final = "csm-1b"
RATE_HZ: Final = VOICE_RATE_HZ
FRAME_S: Final = 0.08
"""One step of the model: all codebooks of 80 ms of sound."""

_MARKS: Final = re.compile(r"<\|.*?\|>|<\||\|>")

_speaking = threading.Lock()
"""One at a time in a process: sampling uses torch's global random numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """Something that was said: (S,) float32 at 24 kHz and its exact words."""

    text: str
    samples: Float


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model chooses: temperature 0 takes the likeliest always, `topk` limits the choice."""

    temperature: float = 0.9
    topk: int = 50


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """
    One try.

    Attributes:
        samples: (S,) float32 at 24 kHz; empty when the model ended before it began.
        ended:   whether it found its end within its frames.
    """

    samples: Float
    ended: bool


class Csm:
    """The networks and the reader of one loaded model."""

    def __init__(self, model: CsmForConditionalGeneration, reader: CsmProcessor, device: Device) -> None:
        self.model, self._reader, self._device = model, reader, device

    @property
    def positions(self) -> int:
        """How many text tokens and frames fit into one utterance with all its context."""
        return int(self.model.config.max_position_embeddings)

    def fitting(self, context: Sequence[Turn], text: str, frames: int) -> list[Turn]:
        """
        Say which turns can be kept so that context, words and frames to come fit into the model.

        The first turn is the voice itself: the ones after it go first, oldest first. The model raises nothing
        when it is given too much; it falls apart.

        Args:
            context: voice, then earlier sentences.
            text:    what is to be said.
            frames:  that it may take.

        Raises:
            InputError: even the voice and the words alone are too much.
        """
        kept = list(context)
        while (length := self._length(kept, text)) + frames > self.positions:
            if len(kept) < 2:
                raise InputError(
                    "The reference recording, its text and the sentence are together longer than the speech"
                    " model can take in; send a shorter recording.",
                    positions=self.positions,
                    needed=length + frames,
                )
            del kept[1]
        return kept

    def _length(self, context: Sequence[Turn], text: str) -> int:
        return int(self._read(context, text)["input_ids"].shape[1])

    def _read(self, context: Sequence[Turn], text: str) -> Mapping[str, torch.Tensor]:
        reader: Any = self._reader
        words, sounds = reader.tokenizer, [turn.samples for turn in context]
        bos, eos, sound = words.bos_token, words.eos_token, reader.audio_token + reader.audio_eos_token
        said = "".join(f"{bos}[0]{_plain(turn.text)}{eos}{sound}" for turn in context)
        return reader(text=f"{said}{bos}[0]{_plain(text)}{eos}", audio=sounds or None)

    def say(
        self,
        text: str,
        context: Sequence[Turn],
        frames: int,
        sampling: Sampling,
        seed: int,
        on_frame: Callable[[int], None] = lambda _: None,
    ) -> Spoken:
        """
        Say a sentence once.

        Args:
            text:     its words.
            context:  what `fitting` kept.
            frames:   most frames of 80 ms.
            sampling: how to choose.
            seed:     same seed, context and device: same codes; the sound of a card may round otherwise.
            on_frame: called with the number of frames so far; what it raises ends the work at once.

        Raises:
            EngineOutOfMemory: the device's memory ended.
        """
        place = self._device.place
        inputs = {
            name: part.to(place, dtype=self._device.dtype if part.is_floating_point() else None)
            for name, part in self._read(context, text).items()
        }
        choose: dict[str, Any] = {"do_sample": sampling.temperature > 0}
        if sampling.temperature > 0:
            choose |= {"temperature": sampling.temperature, "top_k": sampling.topk}
        both = choose | {f"depth_decoder_{name}": value for name, value in choose.items()}
        model: Any = self.model
        with _speaking, _seeded(seed, place), _memory_errors(), torch.inference_mode():
            made = model.generate(**inputs, **both, max_new_tokens=frames, streamer=_Frames(on_frame))
            return self._heard(made[0])

    def _heard(self, codes: torch.Tensor) -> Spoken:
        """Decode (T, codebooks) codes up to the end frame, whose last codebook may hold anything."""
        codec: Any = self.model.codec_model
        end: Any = self.model.config.codebook_eos_token_id
        ends = codes[:, :-1].eq(end).all(-1).nonzero()
        codes = codes[: int(ends[0])] if len(ends) else codes
        if not len(codes):
            return Spoken(np.zeros(0, np.float32), ended=True)
        # codes beyond the codec's own are padding that a model may still choose
        codes = codes.clamp(max=codec.config.codebook_size - 1)
        sound = codec.decode(codes.T[None]).audio_values[0, 0]
        return Spoken(sound.float().cpu().numpy(), ended=bool(len(ends)))


def _plain(text: str) -> str:
    """Take out what the reader would take for the marks of its own format, such as that of a recording."""
    return _MARKS.sub(" ", text)


class _Frames:
    """What transformers calls a streamer: it is handed every frame as it is made."""

    def __init__(self, on_frame: Callable[[int], None]) -> None:
        self._on_frame, self._count = on_frame, -1

    def put(self, value: torch.Tensor) -> None:
        """Count a frame; the first call brings the words."""
        self._count += 1
        if self._count:
            self._on_frame(self._count)

    def end(self) -> None:
        """Nothing is left to do."""


@contextmanager
def _seeded(seed: int, place: torch.device) -> Generator[None]:
    cards = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        torch.manual_seed(seed)
        yield


@contextmanager
def _memory_errors() -> Generator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EngineOutOfMemory("The memory of the device ended while speaking.") from error


def voice_device(machine: Machine) -> Device:
    """Choose where to speak: on cards in bfloat16, which the model was made in, unless the operator says."""
    device = choose_device(machine.device, machine.precision)
    if machine.precision == "auto" and device.place.type == "cuda":
        return Device(device.place, torch.bfloat16)
    return device


def csm(machine: Machine, pinned: PinnedModel | None = None) -> Csm:
    """
    Give the model of this process, loading it when it is not there.

    Args:
        machine: where the weights are, and where to compute.
        pinned:  the content of its files; None: what is there now.

    Raises:
        ModelNotInstalled: a file is missing.
        ModelChanged: the files are not the pinned ones any more.
        WeightsInvalid: the files are no CSM model, or damaged.
    """
    device = voice_device(machine)
    if pinned is None:
        (pinned,) = machine.layout.pin(MODEL)
    return loaded_model(machine, pinned, (device.name,), lambda files: _load(files, device))


def _load(files: Mapping[str, Path], device: Device) -> Csm:
    """Load from the files of a folder in Hugging Face's layout; nothing is ever asked of a hub."""
    from safetensors import SafetensorError
    from transformers import CsmForConditionalGeneration, CsmProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        with linked_folder(files.values()) as folder:
            reader: Any = CsmProcessor.from_pretrained(folder, local_files_only=True)
            load: Any = CsmForConditionalGeneration.from_pretrained
            model, told = load(
                folder,
                dtype=device.dtype,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        if told["missing_keys"] or told["mismatched_keys"]:
            raise ValueError(f"{len(told['missing_keys'])} weights are missing")  # noqa: TRY301  one message
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise WeightsInvalid(
            f"The files of {MODEL} cannot be loaded ({str(error).splitlines()[0][:200]}); run:"
            f" musetalk weights verify {MODEL}",
            model=MODEL,
        ) from error
    model = model.to(device.place).eval()
    release_files(model)
    return Csm(model, reader, device)
