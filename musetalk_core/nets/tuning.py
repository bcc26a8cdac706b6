"""How networks are made quicker without other numbers; docs/LOG.md has what helps on which device."""

from dataclasses import dataclass

import torch
from torch import nn

from musetalk_core.nets.device import Device


@dataclass(frozen=True, slots=True)
class Tuning:
    """
    What is done to a diffusion network once it is loaded.

    Attributes:
        folds_doubling: doubling layers work on the small picture.
        channels_last:  images lie in memory with their channels together.
        compiles:       torch.compile, at the first call.
    """

    folds_doubling: bool
    channels_last: bool = False
    compiles: bool = False


def tuning_for(device: Device, channels_last: bool, compiles: bool) -> Tuning:
    """Fold where that was measured to pay: on processors in memory, on cards in time."""
    return Tuning(device.place.type in ("cpu", "cuda"), channels_last, compiles)


def tune(net: nn.Module, tuning: Tuning) -> None:
    """Change a network in place; it gives the same numbers up to rounding."""
    from musetalk_core.nets.lean import fold_doubling  # imports diffusers

    if tuning.folds_doubling:
        fold_doubling(net)
    if tuning.channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs lack it
    if tuning.compiles:
        net.compile()
