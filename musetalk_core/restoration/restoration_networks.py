"""GFPGAN and CodeFormer as functions from an aligned face to a restored one. Imports torch."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from musetalk_core.errors import EngineError, EngineOutOfMemory
from musetalk_core.networks.codeformer import CodeFormer
from musetalk_core.networks.gfpgan import GFPGAN
from musetalk_core.restoration.network_restorer import RestoreFace
from musetalk_core.runtime.device import Device
from musetalk_core.runtime.device_thread import device_thread
from musetalk_core.types import Image


def gfpgan_function(net: GFPGAN, device: Device) -> RestoreFace:
    """Return a function that restores aligned faces, (512, 512, 3) uint8 BGR, with GFPGAN."""
    return lambda aligned: _run(net, device, aligned)


def codeformer_function(net: CodeFormer, device: Device, fidelity: float) -> RestoreFace:
    """
    Return a function that restores aligned faces, (512, 512, 3) uint8 BGR, with CodeFormer.

    Args:
        net:      the network.
        device:   its device.
        fidelity: 0..1, see `CodeFormer.forward`.
    """
    return lambda aligned: _run(lambda faces: net(faces, fidelity), device, aligned)


def _run(net: Callable[[Tensor], Tensor], device: Device, aligned: Image) -> Image:
    """
    Run a network in the device thread, where its kernels have been selected before.

    Raises:
        EngineOutOfMemory: the device has no memory for a face.
        EngineError: the network returns non-finite numbers.
    """
    return device_thread().submit(_forward, net, device, aligned).result()


@torch.inference_mode()
def _forward(net: Callable[[Tensor], Tensor], device: Device, aligned: Image) -> Image:
    pixels = torch.from_numpy(np.ascontiguousarray(aligned)).to(device.torch_device)
    # uint8 BGR, channels last -> RGB -1..1
    faces = pixels.flip(2).permute(2, 0, 1)[None].float().div_(127.5).sub_(1)
    try:
        restored = net(faces)[0]
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise EngineOutOfMemory(f"the device has no memory to restore a face: {error}") from error
    if not bool(torch.isfinite(restored).all()):
        raise EngineError("the restoration network returned values that are not finite")
    restored = restored.add(1).mul_(127.5).clamp_(0, 255).round_().to(torch.uint8)
    return restored.flip(0).permute(1, 2, 0).contiguous().cpu().numpy()
