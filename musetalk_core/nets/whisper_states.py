"""
Whisper-tiny encoder: MuseTalk's audio features are its hidden states, computed in segments of 30 seconds.

The network is openai-whisper's encoder. Weight files with Hugging Face's and with OpenAI's key names are
accepted.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch.nn import functional
from whisper.audio import log_mel_spectrogram
from whisper.model import AudioEncoder

from musetalk_core.errors import InputError, ModelNotInstalled, WeightsInvalid
from musetalk_core.nets.checkpoint import Tensors, fill, read_tensors
from musetalk_core.nets.device import Device
from musetalk_core.speech.rows import ROW_SAMPLES, ROWS_PER_S, row_count
from musetalk_core.speech.samples import Samples
from musetalk_core.types import Float

PIECE_ROWS: Final = 1500
PIECE_SAMPLES: Final = PIECE_ROWS * ROW_SAMPLES
"""Samples of one segment: 30 s, the encoder's input length."""
STATES: Final = 5
WIDTH: Final = 384
LONGEST_OVERLAP_S: Final = 15.0
_LAYERS: Final = STATES - 1
_MELS: Final = 80
_HEADS: Final = 6
_INNER_WIDTH: Final = 4 * WIDTH
"""Width of the feed-forward layers, fixed in openai-whisper."""
_FILES: Final = ("model.safetensors", "pytorch_model.bin", "tiny.pt")
_THEIRS: Final = {
    "positional_embedding": "embed_positions.weight",
    "ln_post.": "layer_norm.",
    "blocks.": "layers.",
    ".attn.query.": ".self_attn.q_proj.",
    ".attn.key.": ".self_attn.k_proj.",
    ".attn.value.": ".self_attn.v_proj.",
    ".attn.out.": ".self_attn.out_proj.",
    ".attn_ln.": ".self_attn_layer_norm.",
    ".mlp.0.": ".fc1.",
    ".mlp.2.": ".fc2.",
    ".mlp_ln.": ".final_layer_norm.",
}
"""Parts of openai-whisper's key names -> Hugging Face's names."""


@dataclass(frozen=True, slots=True, eq=False)
class WhisperStates:
    """
    A loaded Whisper encoder.

    Attributes:
        net:    weights in float32; its layers cast them to the dtype of their input.
        device: device, and precision of the activations.
    """

    net: AudioEncoder
    device: Device

    def encode(
        self,
        samples: Samples,
        on_rows: Callable[[int], None] | None = None,
        overlap_s: float = 0.0,
    ) -> Iterator[Float]:
        """
        Encode speech of any length. Memory use does not grow with it.

        Args:
            samples:   the speech, 16 kHz mono float32; read segment by segment.
            on_rows:   callback with the number of finished rows after every segment.
            overlap_s: overlap of consecutive segments in seconds, in which they are crossfaded. With 0, as in
                MuseTalk, the states jump at 30 s, 60 s and so on.

        Yields:
            (n, 5, 384) float32, in order; `row_count(samples.count)` rows in total, 50 per second. States 0
            to 3 are the inputs of the encoder's layers, state 4 is its output.

        Raises:
            InputError: the overlap is not in 0..15 s.
        """
        if not 0 <= overlap_s <= LONGEST_OVERLAP_S:
            raise InputError(f"speech segments share 0 to {LONGEST_OVERLAP_S:g} s, not {overlap_s}")
        total, shared = row_count(samples.count), round(overlap_s * ROWS_PER_S)
        start, fading = 0, np.zeros((0, STATES, WIDTH), np.float32)
        while start < total:
            first = start * ROW_SAMPLES
            piece = self.piece(samples.read(first, first + PIECE_SAMPLES))[: total - start]
            piece[: len(fading)] = _faded(fading, piece[: len(fading)])
            ready = len(piece) if start + len(piece) == total else PIECE_ROWS - shared
            fading = piece[ready:]
            start += ready
            if on_rows is not None:
                on_rows(start)
            yield piece[:ready]

    def piece(self, samples: Float) -> Float:
        """
        Encode one segment of up to 30 s.

        Args:
            samples: (S,) float32, S <= 480000; padded with zeros.

        Returns:
            (1500, 5, 384) float32.

        Raises:
            InputError: the segment is longer.
        """
        sound = mel(samples).to(self.device.place, self.device.dtype)
        with torch.inference_mode():
            return self._states(sound[None])[0].float().cpu().numpy()

    def _states(self, sound: torch.Tensor) -> torch.Tensor:
        """Map (B, 80, 3000) to (B, 1500, 5, 384): the intermediate results of openai-whisper's `forward`."""
        net = self.net
        x = functional.gelu(net.conv1(sound))
        x = functional.gelu(net.conv2(x)).permute(0, 2, 1)
        x = (x + net.get_buffer("positional_embedding")).to(x.dtype)
        states = [x]
        for block in net.blocks:
            states.append(block(states[-1]))
        return torch.stack([*states[:-1], net.ln_post(states[-1])], dim=2)


def _faded(before: Float, after: Float) -> Float:
    """Crossfade linearly between two (n, 5, 384) float32 arrays."""
    weight = np.linspace(0, 1, len(before) + 2, dtype=np.float32)[1:-1, None, None]
    return (before + weight * (after - before)).astype(np.float32, copy=False)


def mel(samples: Float) -> torch.Tensor:
    """
    Compute the log-mel spectrogram of one segment, on the CPU, so that it is the same for every device.

    Args:
        samples: (S,) float32, S <= 480000; padded with zeros.

    Returns:
        (80, 3000) float32, 10 ms per column; values are clamped relative to the segment's maximum.

    Raises:
        InputError: the segment is longer.
    """
    if samples.ndim != 1 or len(samples) > PIECE_SAMPLES:
        raise InputError(f"a speech segment has up to {PIECE_SAMPLES} mono samples, not {samples.shape}")
    whole = np.pad(samples, (0, PIECE_SAMPLES - len(samples)))
    return log_mel_spectrogram(whole, _MELS)


def load_whisper(path: Path, device: Device) -> WhisperStates:
    """
    Load the encoder of Whisper-tiny. The decoder's weights in the file are ignored.

    Args:
        path:   a folder with `model.safetensors`, `pytorch_model.bin` (both Hugging Face) or `tiny.pt`
            (OpenAI), or one such file.
        device: device and precision.

    Raises:
        ModelNotInstalled: the file is missing.
        WeightsInvalid: the file is damaged or is not Whisper-tiny; the message names missing and wrong keys.
    """
    file = _weight_file(path)
    prefix, tensors = _encoder_tensors(read_tensors(file), file)
    # Not on the meta device: computing the positional embedding there imports torch's compiler, which takes 2
    # s.
    net = AudioEncoder(_MELS, PIECE_ROWS, WIDTH, _HEADS, _LAYERS)
    is_openai = any(key.startswith("blocks.") for key in tensors)
    theirs = {key: key if is_openai else _their_name(key) for key in net.state_dict()}
    ours = {name: key for key, name in theirs.items()}
    renamed = {ours.get(name, name): value.float() for name, value in tensors.items()}
    fill(net, _widened(renamed), file, lambda key: prefix + theirs.get(key, key))
    return WhisperStates(net.to(device.place).eval(), device)


def _weight_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [path / name for name in _FILES if (path / name).is_file()]
    if not found:
        raise ModelNotInstalled(f"the folder {path} holds none of {', '.join(_FILES)}", file=_FILES[0])
    return found[0]


def _encoder_tensors(tensors: Tensors, file: Path) -> tuple[str, Tensors]:
    """Return the prefix of the encoder's keys in the file, and its tensors without the prefix."""
    for prefix in ("model.encoder.", "encoder."):
        inside = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        if inside:
            return prefix, inside
    raise WeightsInvalid(f"the weight file {file} holds no encoder of Whisper", file=file.name)


def _their_name(key: str) -> str:
    for part, theirs in _THEIRS.items():
        key = key.replace(part, theirs)
    return key


def _widened(tensors: Tensors) -> Tensors:
    """Pad narrower feed-forward layers with zeros, which does not change results."""
    out = dict(tensors)
    for key, value in tensors.items():
        axis = 1 if key.endswith(".mlp.2.weight") else 0
        if key.endswith((".mlp.0.weight", ".mlp.0.bias", ".mlp.2.weight")) and value.ndim > axis:
            shape = list(value.shape)
            shape[axis] = max(0, _INNER_WIDTH - shape[axis])
            out[key] = torch.cat([value, value.new_zeros(shape)], axis)
    return out
