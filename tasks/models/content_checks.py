"""Checks of the content of installed models: each network is loaded on the CPU, all numbers are checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musetalk_core.errors import WeightsInvalid

if TYPE_CHECKING:
    from torch import nn

_CONTAINERS = (".safetensors", ".pth", ".pt", ".bin")


def check_content(name: str, files: Mapping[str, Path]) -> None:
    """
    Check that the weights of a model have the keys and shapes of its network, and that all are finite.

    Networks of other libraries are only checked for damaged tensors and values that are not finite.

    Args:
        name:  of the model in the registry.
        files: role -> path.

    Raises:
        WeightsInvalid: the weights are damaged or belong to another network.
        ModelNotInstalled: a package that loads the network is missing.
    """
    weights = files.get("weights")
    if weights is None or weights.suffix not in _CONTAINERS:
        return
    from musetalk_core.networks.checkpoint import require_finite

    module = _load(name, files)
    if module is None:
        _require_finite_tensors(weights)
    else:
        require_finite(module, weights)


def _load(name: str, files: Mapping[str, Path]) -> "nn.Module | None":
    """Load a network that this project builds itself; None for those of other libraries."""
    from musetalk_core.networks.convnet import load_net
    from musetalk_core.runtime.device import choose_device

    device, weights = choose_device("cpu", "fp32"), files["weights"]
    match name:
        case "musetalk-v15" | "musetalk-v1":
            from musetalk_core.networks.sd_loaders import load_unet

            return load_unet(weights, files["config"], device)
        case "sd-vae":
            from musetalk_core.networks.sd_loaders import load_vae

            return load_vae(weights, files["config"], device)
        case "face-parse":
            from musetalk_core.networks.bisenet import BiSeNet

            return load_net(BiSeNet, weights, device)
        case "dwpose":
            from musetalk_core.networks.dwpose import RTMPose

            return load_net(RTMPose, weights, device)
        case "s3fd":
            from musetalk_core.networks.s3fd import S3FD

            return load_net(S3FD, weights, device)
        case "gfpgan-1.4":
            from musetalk_core.networks.gfpgan import GFPGAN

            return load_net(GFPGAN, weights, device)
        case "codeformer":
            from musetalk_core.networks.codeformer import load_codeformer

            return load_codeformer(weights, device)
        case _ if name.startswith("whisper-"):
            from musetalk_core.transcription.whisper_model import load_whisper_model

            size: Any = name.removeprefix("whisper-")
            return load_whisper_model(weights, size, device).net
        case _:
            return None


def _require_finite_tensors(weights: Path) -> None:
    import torch

    from musetalk_core.networks.checkpoint import read_tensors

    for name, tensor in read_tensors(weights).items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise WeightsInvalid(f"{weights}: {name} holds values that are not finite", file=weights.name)
