"""Load MuseTalk's UNet (run in a single step) and Stable Diffusion VAE from their official weight files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from musetalk_core.errors import ModelNotInstalled, WeightsInvalid
from musetalk_core.networks.checkpoint import Tensors, assign_weights, read_tensors
from musetalk_core.runtime.device import Device

_CURRENT_ATTENTION_NAMES: Final = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def load_unet(weights: Path, config: Path, device: Device) -> UNet2DConditionModel:
    """
    Load a MuseTalk UNet.

    Args:
        weights: `unet.pth` of v1.5 or `pytorch_model.bin` of v1.
        config:  `musetalk.json`, the UNet's dimensions.
        device:  device and precision.

    Returns:
        A UNet: (B, 8, 32, 32) latents and (B, 50, 384) audio tokens at time step 0 -> (B, 4, 32, 32) latents.

    Raises:
        ModelNotInstalled: a file is missing.
        WeightsInvalid: a file is damaged or belongs to something else.
    """
    return cast(
        UNet2DConditionModel,
        _load_network(UNet2DConditionModel, read_tensors(weights), weights, config, device),
    )


def load_vae(weights: Path, config: Path, device: Device) -> AutoencoderKL:
    """
    Load the VAE. Files with old and with current names of the attention layers are accepted.

    Args:
        weights: `diffusion_pytorch_model.bin` or `.safetensors`.
        config:  `config.json` beside it.
        device:  device and precision.

    Raises:
        ModelNotInstalled, WeightsInvalid: see `load_unet`.
    """
    return cast(
        AutoencoderKL,
        _load_network(AutoencoderKL, rename_attention_keys(read_tensors(weights)), weights, config, device),
    )


def rename_attention_keys(tensors: Tensors) -> Tensors:
    """Rename `query`, `key`, `value`, `proj_attn` of attention layers to the names of current diffusers."""
    return {_rename_attention_key(key): value for key, value in tensors.items()}


def _rename_attention_key(key: str) -> str:
    parts = key.split(".")
    if len(parts) >= 2 and parts[-2] in _CURRENT_ATTENTION_NAMES and "attentions" in parts:
        parts[-2] = _CURRENT_ATTENTION_NAMES[parts[-2]]
    return ".".join(parts)


def _load_network(
    kind: type[Any], tensors: Tensors, weights: Path, config: Path, device: Device
) -> nn.Module:
    with torch.device("meta"):
        module = cast(nn.Module, kind.from_config(_read_config(config)))
    assign_weights(module, tensors, weights)
    # nn.Module.to directly: diffusers' override only adds a warning about layers that these models do not
    # have.
    return nn.Module.to(module.eval().requires_grad_(False), device.torch_device, device.dtype)


def _read_config(path: Path) -> Mapping[str, Any]:
    """Read a diffusers config, without the fields with a leading underscore, which describe its writer."""
    try:
        fields = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ModelNotInstalled(f"the model description {path} is missing", file=path.name) from error
    except (OSError, ValueError) as error:
        raise WeightsInvalid(
            f"the model description {path} cannot be read: {error}", file=path.name
        ) from error
    if not isinstance(fields, dict):
        raise WeightsInvalid(f"the model description {path} holds no fields", file=path.name)
    return {name: value for name, value in fields.items() if not name.startswith("_")}
