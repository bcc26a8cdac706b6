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
from musetalk_core.formats.pcm import ROWS_PER_S, SAMPLES_PER_ROW, Samples, row_count
from musetalk_core.networks.checkpoint import Tensors, assign_weights, read_tensors
from musetalk_core.runtime.device import Device
from musetalk_core.types import Float

SEGMENT_ROWS: Final = 1500
SEGMENT_SAMPLES: Final = SEGMENT_ROWS * SAMPLES_PER_ROW
"""Samples of one segment: 30 s, the encoder's input length."""
STATE_COUNT: Final = 5
STATE_WIDTH: Final = 384
MAX_OVERLAP_S: Final = 15.0
_LAYER_COUNT: Final = STATE_COUNT - 1
_MEL_BANDS: Final = 80
_HEAD_COUNT: Final = 6
_FEED_FORWARD_WIDTH: Final = 4 * STATE_WIDTH
"""Width of the feed-forward layers, fixed in openai-whisper."""
_WEIGHT_FILES: Final = ("model.safetensors", "pytorch_model.bin", "tiny.pt")
_HUGGING_FACE_NAMES: Final = {
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
class WhisperEncoder:
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
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise InputError(f"speech segments share 0 to {MAX_OVERLAP_S:g} s, not {overlap_s}")
        total, overlap_rows = row_count(samples.count), round(overlap_s * ROWS_PER_S)
        start, overlap = 0, np.zeros((0, STATE_COUNT, STATE_WIDTH), np.float32)
        while start < total:
            first = start * SAMPLES_PER_ROW
            segment = self.encode_segment(samples.read(first, first + SEGMENT_SAMPLES))[: total - start]
            segment[: len(overlap)] = _crossfade(overlap, segment[: len(overlap)])
            ready = len(segment) if start + len(segment) == total else SEGMENT_ROWS - overlap_rows
            overlap = segment[ready:]
            start += ready
            if on_rows is not None:
                on_rows(start)
            yield segment[:ready]

    def encode_segment(self, samples: Float) -> Float:
        """
        Encode one segment of up to 30 s.

        Args:
            samples: (S,) float32, S <= 480000; padded with zeros.

        Returns:
            (1500, 5, 384) float32.

        Raises:
            InputError: the segment is longer.
        """
        sound = log_mel(samples).to(self.device.torch_device, self.device.dtype)
        with torch.inference_mode():
            return self._hidden_states(sound[None])[0].float().cpu().numpy()

    def _hidden_states(self, sound: torch.Tensor) -> torch.Tensor:
        """Map (B, 80, 3000) to (B, 1500, 5, 384): the intermediate results of openai-whisper's `forward`."""
        net = self.net
        x = functional.gelu(net.conv1(sound))
        x = functional.gelu(net.conv2(x)).permute(0, 2, 1)
        x = (x + net.get_buffer("positional_embedding")).to(x.dtype)
        states = [x]
        for block in net.blocks:
            states.append(block(states[-1]))
        return torch.stack([*states[:-1], net.ln_post(states[-1])], dim=2)


def _crossfade(before: Float, after: Float) -> Float:
    """Crossfade linearly between two (n, 5, 384) float32 arrays."""
    weight = np.linspace(0, 1, len(before) + 2, dtype=np.float32)[1:-1, None, None]
    return (before + weight * (after - before)).astype(np.float32, copy=False)


def log_mel(samples: Float) -> torch.Tensor:
    """
    Compute the log-mel spectrogram of one segment, on the CPU, so that it is the same for every device.

    Args:
        samples: (S,) float32, S <= 480000; padded with zeros.

    Returns:
        (80, 3000) float32, 10 ms per column; values are clamped relative to the segment's maximum.

    Raises:
        InputError: the segment is longer.
    """
    if samples.ndim != 1 or len(samples) > SEGMENT_SAMPLES:
        raise InputError(f"a speech segment has up to {SEGMENT_SAMPLES} mono samples, not {samples.shape}")
    padded = np.pad(samples, (0, SEGMENT_SAMPLES - len(samples)))
    return log_mel_spectrogram(padded, _MEL_BANDS)


def load_whisper_encoder(path: Path, device: Device) -> WhisperEncoder:
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
    net = AudioEncoder(_MEL_BANDS, SEGMENT_ROWS, STATE_WIDTH, _HEAD_COUNT, _LAYER_COUNT)
    is_openai = any(key.startswith("blocks.") for key in tensors)
    file_keys = {key: key if is_openai else _hugging_face_name(key) for key in net.state_dict()}
    module_keys = {name: key for key, name in file_keys.items()}
    renamed = {module_keys.get(name, name): value.float() for name, value in tensors.items()}
    assign_weights(net, _pad_feed_forward(renamed), file, lambda key: prefix + file_keys.get(key, key))
    return WhisperEncoder(net.to(device.torch_device).eval(), device)


def _weight_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    present = [path / name for name in _WEIGHT_FILES if (path / name).is_file()]
    if not present:
        raise ModelNotInstalled(
            f"the folder {path} holds none of {', '.join(_WEIGHT_FILES)}", file=_WEIGHT_FILES[0]
        )
    return present[0]


def _encoder_tensors(tensors: Tensors, file: Path) -> tuple[str, Tensors]:
    """Return the prefix of the encoder's keys in the file, and its tensors without the prefix."""
    for prefix in ("model.encoder.", "encoder."):
        inside = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        if inside:
            return prefix, inside
    raise WeightsInvalid(f"the weight file {file} holds no encoder of Whisper", file=file.name)


def _hugging_face_name(key: str) -> str:
    for part, theirs in _HUGGING_FACE_NAMES.items():
        key = key.replace(part, theirs)
    return key


def _pad_feed_forward(tensors: Tensors) -> Tensors:
    """Pad narrower feed-forward layers with zeros, which does not change results."""
    out = dict(tensors)
    for key, value in tensors.items():
        axis = 1 if key.endswith(".mlp.2.weight") else 0
        if key.endswith((".mlp.0.weight", ".mlp.0.bias", ".mlp.2.weight")) and value.ndim > axis:
            shape = list(value.shape)
            shape[axis] = max(0, _FEED_FORWARD_WIDTH - shape[axis])
            out[key] = torch.cat([value, value.new_zeros(shape)], axis)
    return out
