"""Conversion of Whisper weights from the files of OpenAI and Hugging Face to CTranslate2's format (fp16)."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ctranslate2.specs import WhisperSpec

from musetalk_core.errors import WeightsInvalid
from musetalk_core.transcription.checkpoint_tensors import read_whisper_tensors

Array = npt.NDArray[np.float16]

_EMBEDDINGS: Final = "decoder/embeddings/weight"
"""Name in the file. The output projection is the same matrix, stored once."""


def convert_to_ctranslate2(source: Path, target: Path) -> None:
    """
    Write a model in CTranslate2's format. Weights are stored as float16, as OpenAI publishes them.

    Memory for about one and a half times the weights in float16 is needed, twice that for files in float32.

    Args:
        source: see `read_whisper_tensors`.
        target: the file `model.bin` to write. Vocabulary and options are not part of it.

    Raises:
        ModelNotInstalled: the source does not exist.
        WeightsInvalid: the source is damaged or not a Whisper model; the message names a wrong tensor.
    """
    tensors, dims = read_whisper_tensors(source)
    weights = _Weights({name: tensor.half().numpy() for name, tensor in tensors.items()})
    del tensors
    spec: Any = WhisperSpec(dims.n_audio_layer, dims.n_audio_head, dims.n_text_layer, dims.n_text_head)
    try:
        _set_encoder(spec.encoder, weights)
        _set_decoder(spec.decoder, weights)
        weights.require_all_used()
        # the library demands a vocabulary; `load_ctranslate2_model` has its own
        spec.register_vocabulary([str(token) for token in range(dims.n_vocab)])
        spec.validate()
    except (KeyError, ValueError) as error:
        raise WeightsInvalid(
            f"The weight file {source} does not contain a complete Whisper model: {error}", file=source.name
        ) from error
    spec.decoder.projection.weight = _EMBEDDINGS
    with TemporaryDirectory(dir=target.parent) as folder:
        spec.save(folder)
        Path(folder, "model.bin").replace(target)


class _Weights:
    """Arrays by openai-whisper's names; each must be used."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = dict(arrays)

    def take(self, name: str) -> Array:
        """Return an array, and forget it."""
        return self._arrays.pop(name)

    def require_all_used(self) -> None:
        """Raise ValueError if an array is left."""
        if self._arrays:
            raise ValueError(f"unknown tensor {min(self._arrays)}")


def _set_encoder(spec: Any, weights: _Weights) -> None:
    for number in (1, 2):
        _set_linear(getattr(spec, f"conv{number}"), weights, f"encoder.conv{number}")
    spec.position_encodings.encodings = weights.take("encoder.positional_embedding")
    _set_norm(spec.layer_norm, weights, "encoder.ln_post")
    for number, layer in enumerate(spec.layer):
        _set_block(layer, weights, f"encoder.blocks.{number}")


def _set_decoder(spec: Any, weights: _Weights) -> None:
    spec.embeddings.weight = spec.projection.weight = weights.take("decoder.token_embedding.weight")
    spec.position_encodings.encodings = weights.take("decoder.positional_embedding")
    _set_norm(spec.layer_norm, weights, "decoder.ln")
    for number, layer in enumerate(spec.layer):
        block = f"decoder.blocks.{number}"
        _set_block(layer, weights, block)
        _set_norm(layer.attention.layer_norm, weights, f"{block}.cross_attn_ln")
        query, key_value, out = layer.attention.linear
        _set_linear(query, weights, f"{block}.cross_attn.query")
        _set_stacked(key_value, weights, f"{block}.cross_attn", ("key", "value"))
        _set_linear(out, weights, f"{block}.cross_attn.out")


def _set_block(layer: Any, weights: _Weights, block: str) -> None:
    _set_norm(layer.self_attention.layer_norm, weights, f"{block}.attn_ln")
    query_key_value, out = layer.self_attention.linear
    _set_stacked(query_key_value, weights, f"{block}.attn", ("query", "key", "value"))
    _set_linear(out, weights, f"{block}.attn.out")
    _set_norm(layer.ffn.layer_norm, weights, f"{block}.mlp_ln")
    _set_linear(layer.ffn.linear_0, weights, f"{block}.mlp.0")
    _set_linear(layer.ffn.linear_1, weights, f"{block}.mlp.2")


def _set_linear(spec: Any, weights: _Weights, name: str) -> None:
    spec.weight, spec.bias = weights.take(f"{name}.weight"), weights.take(f"{name}.bias")


def _set_norm(spec: Any, weights: _Weights, name: str) -> None:
    spec.gamma, spec.beta = weights.take(f"{name}.weight"), weights.take(f"{name}.bias")


def _set_stacked(spec: Any, weights: _Weights, name: str, parts: tuple[str, ...]) -> None:
    """Set one matrix from several; the key has no bias in openai-whisper, so that zeros take its place."""
    matrices = [weights.take(f"{name}.{part}.weight") for part in parts]
    biases = [
        np.zeros(len(matrix), np.float16) if part == "key" else weights.take(f"{name}.{part}.bias")
        for part, matrix in zip(parts, matrices, strict=True)
    ]
    spec.weight, spec.bias = np.concatenate(matrices), np.concatenate(biases)
