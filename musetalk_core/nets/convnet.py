"""What the convolutional nets share: loading in float32, and folding of BatchNorm."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from musetalk_core.nets.checkpoint import fill, read_tensors
from musetalk_core.nets.device import Device

Net = TypeVar("Net", bound=nn.Module)


def load_net(make: Callable[[], Net], path: Path, device: Device) -> Net:
    """
    Build a net, fill it from its official file and make it ready to run.

    Args:
        make:   the module class; built without memory, then given the file's tensors.
        path:   the weight file.
        device: only its place counts: these nets decide (argmax, thresholds) and are small, so float32.

    Returns:
        The net in eval mode, folded, channels last, on the device.

    Raises:
        ModelNotInstalled: there is no such file.
        WeightsInvalid: it is damaged or of another net.
    """
    with torch.device("meta"):
        net = make()
    fill(net, read_tensors(path), path)
    net.eval().requires_grad_(requires_grad=False).float()
    fold(net)
    return net.to(device.place).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs lack it


def fold(net: nn.Module) -> None:
    """
    Merge every BatchNorm into the convolution registered just before it, in place.

    All nets here apply such a pair directly one after the other; computed in float64, rounded once.
    """
    for module in net.modules():
        children = list(module.named_children())
        for (name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, _merged(conv, norm))
                setattr(module, norm_name, nn.Identity())


def _merged(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    state = {key: value.double() for key, value in norm.state_dict().items()}
    gain = state["weight"] / torch.sqrt(state["running_var"] + norm.eps)
    shift = -state["running_mean"] if conv.bias is None else conv.bias.double() - state["running_mean"]
    weight, bias = conv.weight.double() * gain[:, None, None, None], shift * gain + state["bias"]
    conv.weight = nn.Parameter(weight.float(), requires_grad=False)
    conv.bias = nn.Parameter(bias.float(), requires_grad=False)
    return conv
