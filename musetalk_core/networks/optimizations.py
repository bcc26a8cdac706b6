"""
Optimizations of diffusion networks that keep their results: fused upsampling, channels-last, torch.compile.

docs/LOG.md has the measurements per device.
"""

from dataclasses import dataclass

import torch
from torch import nn

from musetalk_core.runtime.device import Device


@dataclass(frozen=True, slots=True)
class OptimizationConfig:
    """
    The optimizations to apply to a loaded diffusion network.

    Attributes:
        fuses_upsampling: fuse upsampling layers with their convolutions.
        channels_last:    use the channels-last memory format.
        compiles:         compile the network with torch.compile at the first call.
    """

    fuses_upsampling: bool
    channels_last: bool = False
    compiles: bool = False


def optimizations_for(device: Device, channels_last: bool, compiles: bool) -> OptimizationConfig:
    """Choose the optimizations for a device: fused upsampling saves memory on CPUs and time on CUDA GPUs."""
    return OptimizationConfig(device.torch_device.type in ("cpu", "cuda"), channels_last, compiles)


def apply_optimizations(net: nn.Module, config: OptimizationConfig) -> None:
    """Apply the optimizations to a network in place. Its results stay equal up to rounding."""
    from musetalk_core.networks.fast_unet import fuse_upsampling  # imports diffusers

    if config.fuses_upsampling:
        fuse_upsampling(net)
    if config.channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs lack it
    if config.compiles:
        net.compile()
