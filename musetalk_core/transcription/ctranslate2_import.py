"""Conversion of Whisper weights from CTranslate2's format (fp16) to an openai-whisper checkpoint."""

import io
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import torch

from musetalk_core.errors import WeightsInvalid

Arrays = dict[str, npt.NDArray[Any]]

# CTranslate2's numbers of data types
_DTYPES: Final = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
_MIN_VERSION: Final = 4
"""Oldest version of the container that has this layout."""
_HEAD_WIDTH: Final = 64
"""Channels per attention head, in every size of Whisper."""


def convert_to_openai(parts: Sequence[Path], target: Path) -> None:
    """
    Write a checkpoint that `whisper.load_model` can load.

    Args:
        parts:  one file in CTranslate2's format, possibly split into several, in order.
        target: the `.pt` file to write: `dims`, `model_state_dict`; weights keep their precision (fp16).

    Raises:
        WeightsInvalid: the parts are damaged or not a Whisper model.
    """
    dims, tensors = _parse(b"".join(part.read_bytes() for part in parts), parts[0].name)
    # copy: torch.save would store the whole array behind a view
    state = {key: torch.from_numpy(np.array(value)) for key, value in tensors.items()}
    torch.save({"dims": dims, "model_state_dict": state}, target)


def read_dimensions(content: bytes, name: str) -> dict[str, int]:
    """
    Return openai-whisper's dimensions of a model in CTranslate2's format.

    Args:
        content: the whole file.
        name:    its name, for errors.

    Raises:
        WeightsInvalid: the content is damaged or not a Whisper model.
    """
    return _parse(content, name)[0]


def _parse(content: bytes, name: str) -> tuple[dict[str, int], Arrays]:
    try:
        return _to_openai(_read_container(io.BytesIO(content)))
    except (KeyError, ValueError, IndexError, struct.error) as error:
        raise WeightsInvalid(
            f"{name} is not a Whisper model in CTranslate2's format: {error!r}", file=name
        ) from error


def _read_container(file: BinaryIO) -> Arrays:
    """Read the container: little-endian; each tensor follows its name, shape, type and size in bytes."""
    version = _read_number(file, "I")
    if version < _MIN_VERSION:
        raise ValueError(f"container version {version} is older than {_MIN_VERSION}")
    _read_text(file)  # name of the model specification
    _read_number(file, "I")  # revision of the model specification
    arrays: Arrays = {}
    for _ in range(_read_number(file, "I")):
        name = _read_text(file)
        shape = [_read_number(file, "I") for _ in range(_read_number(file, "B"))]
        kind, size = _DTYPES[_read_number(file, "B")], _read_number(file, "I")
        arrays[name] = np.frombuffer(file.read(size), kind).reshape(shape)
    for _ in range(_read_number(file, "I")):
        alias, name = _read_text(file), _read_text(file)
        arrays[alias] = arrays[name]
    return arrays


def _read_number(file: BinaryIO, kind: str) -> int:
    (value,) = struct.unpack(f"<{kind}", file.read(struct.calcsize(kind)))
    return int(value)


def _read_text(file: BinaryIO) -> str:
    return file.read(_read_number(file, "H")).rstrip(b"\0").decode()


def _to_openai(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[dict[str, int], Arrays]:
    """Return openai-whisper's dimensions and state dict; dimensions are derived from the shapes."""
    width, mels = (int(n) for n in arrays["encoder/conv1/weight"].shape[:2])
    depth = {side: 1 + max(_layer_numbers(arrays, side)) for side in ("encoder", "decoder")}
    out: Arrays = {}
    for n in (1, 2):
        _copy_linear(out, f"encoder.conv{n}", arrays, f"encoder/conv{n}")
    _copy_norm(out, "encoder.ln_post", arrays, "encoder/layer_norm")
    _copy_norm(out, "decoder.ln", arrays, "decoder/layer_norm")
    out["decoder.token_embedding.weight"] = arrays["decoder/embeddings/weight"]
    for side, layers in depth.items():
        out[f"{side}.positional_embedding"] = arrays[f"{side}/position_encodings/encodings"]
        for i in range(layers):
            _copy_block(out, f"{side}.blocks.{i}", arrays, f"{side}/layer_{i}", width)
    heads = width // _HEAD_WIDTH
    dims = {
        "n_mels": mels,
        "n_audio_ctx": len(out["encoder.positional_embedding"]),
        "n_audio_state": width,
        "n_audio_head": heads,
        "n_audio_layer": depth["encoder"],
        "n_vocab": len(out["decoder.token_embedding.weight"]),
        "n_text_ctx": len(out["decoder.positional_embedding"]),
        "n_text_state": width,
        "n_text_head": heads,
        "n_text_layer": depth["decoder"],
    }
    return dims, out


def _layer_numbers(names: Mapping[str, object], side: str) -> set[int]:
    return {int(match[1]) for name in names if (match := re.match(rf"{side}/layer_(\d+)/", name))}


def _copy_block(
    out: Arrays, name: str, arrays: Mapping[str, npt.NDArray[Any]], source: str, width: int
) -> None:
    """
    Copy one layer.

    CTranslate2 stacks query, key and value in one matrix. The key has no bias in openai-whisper; it is zero.
    """
    query, key, value = (slice(i * width, (i + 1) * width) for i in range(3))
    self_attention = f"{source}/self_attention"
    _copy_linear(out, f"{name}.attn.query", arrays, f"{self_attention}/linear_0", query)
    _copy_linear(out, f"{name}.attn.key", arrays, f"{self_attention}/linear_0", key, bias=False)
    _copy_linear(out, f"{name}.attn.value", arrays, f"{self_attention}/linear_0", value)
    _copy_linear(out, f"{name}.attn.out", arrays, f"{self_attention}/linear_1")
    _copy_norm(out, f"{name}.attn_ln", arrays, f"{self_attention}/layer_norm")
    cross_attention = f"{source}/attention"
    if f"{cross_attention}/linear_0/weight" in arrays:
        first, second = slice(0, width), slice(width, 2 * width)
        _copy_linear(out, f"{name}.cross_attn.query", arrays, f"{cross_attention}/linear_0")
        _copy_linear(out, f"{name}.cross_attn.key", arrays, f"{cross_attention}/linear_1", first, bias=False)
        _copy_linear(out, f"{name}.cross_attn.value", arrays, f"{cross_attention}/linear_1", second)
        _copy_linear(out, f"{name}.cross_attn.out", arrays, f"{cross_attention}/linear_2")
        _copy_norm(out, f"{name}.cross_attn_ln", arrays, f"{cross_attention}/layer_norm")
    _copy_norm(out, f"{name}.mlp_ln", arrays, f"{source}/ffn/layer_norm")
    _copy_linear(out, f"{name}.mlp.0", arrays, f"{source}/ffn/linear_0")
    _copy_linear(out, f"{name}.mlp.2", arrays, f"{source}/ffn/linear_1")


def _copy_linear(
    out: Arrays,
    name: str,
    arrays: Mapping[str, npt.NDArray[Any]],
    source: str,
    rows: slice = slice(None),
    *,
    bias: bool = True,
) -> None:
    out[f"{name}.weight"] = arrays[f"{source}/weight"][rows]
    if bias:
        out[f"{name}.bias"] = arrays[f"{source}/bias"][rows]


def _copy_norm(out: Arrays, name: str, arrays: Mapping[str, npt.NDArray[Any]], source: str) -> None:
    out[f"{name}.weight"], out[f"{name}.bias"] = arrays[f"{source}/gamma"], arrays[f"{source}/beta"]
