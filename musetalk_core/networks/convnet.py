"""Load convolutional networks in float32 and fold their BatchNorm layers."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from musetalk_core.networks.checkpoint import assign_weights, read_tensors
from musetalk_core.runtime.device import Device

Net = TypeVar("Net", bound=nn.Module)


def load_net(build_net: Callable[[], Net], path: Path, device: Device) -> Net:
    """
    Build a network, load its official weights and prepare it for inference.

    Args:
        build_net: the module class; built on the meta device, then given the file's tensors.
        path:      the weight file.
        device:    where to run. Its precision is ignored: the networks' results are decisions (argmax,
            thresholds), or they are not published for half precision, so they run in float32.

    Returns:
        The network in eval mode, on the device; BatchNorm folded, convolutions in channels-last format.

    Raises:
        ModelNotInstalled: the file is missing.
        WeightsInvalid: the file is damaged or belongs to another network.
    """
    with torch.device("meta"):
        net = build_net()
    assign_weights(net, read_tensors(path), path)
    net.eval().requires_grad_(requires_grad=False).float()
    fold_batch_norm(net)
    net.to(device.torch_device)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs lack it
    return net


def fold_batch_norm(net: nn.Module) -> None:
    """
    Fold every BatchNorm into the convolution registered directly before it, in place.

    All networks of this package apply such a pair in direct succession. Computed in float64 and rounded once.
    """
    for module in net.modules():
        children = list(module.named_children())
        for (name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, _merge_batch_norm(conv, norm))
                setattr(module, norm_name, nn.Identity())


def _merge_batch_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    state = {key: value.double() for key, value in norm.state_dict().items()}
    gain = state["weight"] / torch.sqrt(state["running_var"] + norm.eps)
    shift = -state["running_mean"] if conv.bias is None else conv.bias.double() - state["running_mean"]
    weight, bias = conv.weight.double() * gain[:, None, None, None], shift * gain + state["bias"]
    conv.weight = nn.Parameter(weight.float(), requires_grad=False)
    conv.bias = nn.Parameter(bias.float(), requires_grad=False)
    return conv
