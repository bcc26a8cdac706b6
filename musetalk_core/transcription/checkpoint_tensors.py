"""Tensors of Whisper files of OpenAI and Hugging Face, under openai-whisper's names, and their dimensions."""

from pathlib import Path
from typing import Any, Final

from whisper.model import ModelDimensions

from musetalk_core.errors import WeightsInvalid
from musetalk_core.networks.checkpoint import Tensors, read_tensors

_HF_TO_OPENAI: Final = {
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
"""Parts of Hugging Face's parameter names and openai-whisper's names for them."""


def read_whisper_tensors(path: Path) -> tuple[Tensors, ModelDimensions]:
    """
    Read a Whisper model into memory.

    Args:
        path: a checkpoint of openai-whisper (`torch.save`), or `model.safetensors` or `pytorch_model.bin` of
            the same model from Hugging Face.

    Returns:
        Tensors by openai-whisper's names, with the stored dtype; dimensions, derived from the shapes.

    Raises:
        ModelNotInstalled: the file does not exist.
        WeightsInvalid: the file is damaged or not a Whisper model.
    """
    tensors = _to_openai_names(read_tensors(path))
    try:
        return tensors, _model_dimensions(tensors)
    except (KeyError, ValueError) as error:
        raise WeightsInvalid(
            f"The weight file {path} does not contain a Whisper model.", file=path.name
        ) from error


def _to_openai_names(tensors: Tensors) -> Tensors:
    """Return tensors under openai-whisper's names, from either naming scheme."""
    if "encoder.conv1.weight" in tensors:
        return tensors
    out: Tensors = {}
    for key, value in tensors.items():
        name = key.removeprefix("model.")
        for hf_part, openai_part in _HF_TO_OPENAI.items():
            name = name.replace(hf_part, openai_part)
        if name != "proj_out.weight":  # a duplicate of the token embedding
            out[name] = value
    return out


def _model_dimensions(tensors: Tensors) -> ModelDimensions:
    width, mels = (int(n) for n in tensors["encoder.conv1.weight"].shape[:2])
    heads = width // 64
    sizes: dict[str, Any] = {
        "n_mels": mels,
        "n_audio_ctx": len(tensors["encoder.positional_embedding"]),
        "n_audio_state": width,
        "n_audio_head": heads,
        "n_audio_layer": _layer_count(tensors, "encoder"),
        "n_vocab": len(tensors["decoder.token_embedding.weight"]),
        "n_text_ctx": len(tensors["decoder.positional_embedding"]),
        "n_text_state": width,
        "n_text_head": heads,
        "n_text_layer": _layer_count(tensors, "decoder"),
    }
    return ModelDimensions(**sizes)


def _layer_count(tensors: Tensors, side: str) -> int:
    prefix = f"{side}.blocks."
    return 1 + max(int(key.removeprefix(prefix).split(".")[0]) for key in tensors if key.startswith(prefix))
