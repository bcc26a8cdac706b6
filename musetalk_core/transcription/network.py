"""Whisper, loaded: from a checkpoint of openai-whisper's, or from the files of the same model on hubs."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import whisper
from torch import nn
from whisper.model import ModelDimensions, Whisper

from musetalk_core.errors import WeightsInvalid
from musetalk_core.nets.checkpoint import Tensors, fill, read_tensors
from musetalk_core.nets.device import Device
from musetalk_core.transcription.choice import Size

_THEIRS: Final = {
    "layers.": "blocks.",
    ".self_attn.q_proj.": ".attn.query.",
    ".self_attn.k_proj.": ".attn.key.",
    ".self_attn.v_proj.": ".attn.value.",
    ".self_attn.out_proj.": ".attn.out.",
    ".self_attn_layer_norm.": ".attn_ln.",
    ".encoder_attn.q_proj.": ".cross_attn.query.",
    ".encoder_attn.k_proj.": ".cross_attn.key.",
    ".encoder_attn.v_proj.": ".cross_attn.value.",
    ".encoder_attn.out_proj.": ".cross_attn.out.",
    ".encoder_attn_layer_norm.": ".cross_attn_ln.",
    ".fc1.": ".mlp.0.",
    ".fc2.": ".mlp.2.",
    ".final_layer_norm.": ".mlp_ln.",
    "encoder.layer_norm.": "encoder.ln_post.",
    "decoder.layer_norm.": "decoder.ln.",
    "embed_tokens.": "token_embedding.",
    "embed_positions.weight": "positional_embedding",
}
"""Parts of Hugging Face's names and what openai-whisper calls them."""


TURN: Final = threading.Lock()
"""Hold it for a window: decoding leaves notes on the net, and timing words a switch on the library."""


@dataclass(frozen=True, slots=True, eq=False)
class Hearing:
    """
    A loaded model.

    Attributes:
        net:  openai-whisper's own, ready to run.
        half: whether it computes in half precision.
    """

    net: Whisper
    half: bool


class _Together(nn.Module):
    """
    Attention to the sound that lets all beams look at the one sound at once.

    The library's own goes over the sound once a beam, which is half of the time of decoding.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(
        self, x: torch.Tensor, xa: torch.Tensor, mask: torch.Tensor | None = None, kv_cache: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(beams, T, D) looking at (1, A, D), as the inner one does."""
        beams, count, width = x.shape
        out, weights = self.inner(x.reshape(len(xa), -1, width), xa, mask, kv_cache)
        return out.reshape(beams, count, width), weights


def load_hearing(path: Path, size: Size, device: Device) -> Hearing:
    """
    Load a model.

    Args:
        path:   what `torch.save` wrote of openai-whisper, or `model.safetensors`, `pytorch_model.bin` of the
            same model on hubs.
        size:   which of the models it is: decides what words are timed with.
        device: where it shall run; half precision is float16 or none.

    Raises:
        ModelNotInstalled: there is no such file.
        WeightsInvalid: it is damaged or is not Whisper; the message names what is missing or wrong.
    """
    tensors = _ours(read_tensors(path))
    try:
        dims = _dimensions(tensors)
    except (KeyError, ValueError) as error:
        raise WeightsInvalid(f"the weight file {path} does not hold Whisper", file=path.name) from error
    net = Whisper(dims)
    fill(net, {key: value.float() for key, value in tensors.items()}, path)
    heads: dict[str, bytes] = whisper._ALIGNMENT_HEADS  # pyright: ignore[reportPrivateUsage]  its load_model's
    net.set_alignment_heads(heads[size])
    place = device.place if device.place.type != "mps" else torch.device("cpu")  # timing needs doubles
    for block in net.decoder.blocks:
        setattr(block, "cross_attn", _Together(block.get_submodule("cross_attn")))  # noqa: B010  another type
    half = place.type == "cuda" and device.dtype == torch.float16
    return Hearing((_halved(net) if half else net).to(place).eval(), half)


def _halved(net: Whisper) -> Whisper:
    """
    Halve the weights that compute in half precision, once; the library does it again at every use of each.

    Norms and positions stay full: with these it computes in full precision.
    """
    for part in net.modules():
        if isinstance(part, nn.Linear | nn.Conv1d | nn.Embedding):
            part.half()
    return net


def _ours(tensors: Tensors) -> Tensors:
    """Give tensors openai-whisper's names, whichever they have."""
    if "encoder.conv1.weight" in tensors:
        return tensors
    out: Tensors = {}
    for key, value in tensors.items():
        name = key.removeprefix("model.")
        for theirs, ours in _THEIRS.items():
            name = name.replace(theirs, ours)
        if name != "proj_out.weight":  # the token embedding again
            out[name] = value
    return out


def _dimensions(tensors: Tensors) -> ModelDimensions:
    width, mels = (int(n) for n in tensors["encoder.conv1.weight"].shape[:2])
    heads = width // 64
    sizes: dict[str, Any] = {
        "n_mels": mels,
        "n_audio_ctx": len(tensors["encoder.positional_embedding"]),
        "n_audio_state": width,
        "n_audio_head": heads,
        "n_audio_layer": _depth(tensors, "encoder"),
        "n_vocab": len(tensors["decoder.token_embedding.weight"]),
        "n_text_ctx": len(tensors["decoder.positional_embedding"]),
        "n_text_state": width,
        "n_text_head": heads,
        "n_text_layer": _depth(tensors, "decoder"),
    }
    return ModelDimensions(**sizes)


def _depth(tensors: Tensors, side: str) -> int:
    begin = f"{side}.blocks."
    return 1 + max(int(key.removeprefix(begin).split(".")[0]) for key in tensors if key.startswith(begin))
