"""Select the torch device and the precision of neural networks."""

from dataclasses import dataclass

import torch

from musetalk_core.errors import InputError
from musetalk_core.runtime.config import DeviceName, Precision

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Device:
    """A torch device and the precision of large networks on it."""

    torch_device: torch.device
    dtype: torch.dtype

    @property
    def name(self) -> str:
        """Device type and precision, such as `cuda:float16`; part of cache keys: it changes pixels."""
        return f"{self.torch_device.type}:{str(self.dtype).removeprefix('torch.')}"


def choose_device(name: DeviceName = "auto", precision: Precision = "auto") -> Device:
    """
    Select the device and precision to use.

    Selecting CUDA also disables TF32 (10-bit mantissa) for float32 convolutions and matrix products in the
    whole process, so that float32 means the same on every device. Half precision is not affected.

    Args:
        name:      `auto` selects CUDA, else MPS, else the CPU. To select one of several GPUs, set
            CUDA_VISIBLE_DEVICES before the process starts.
        precision: `auto` is fp16 on GPUs and fp32 on the CPU, where half precision is slower.

    Raises:
        InputError: the machine has no such device.
    """
    kind = _best_device() if name == "auto" else name
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError("this machine has no CUDA device that torch can use; set the device to auto or cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError("this machine has no Apple GPU that torch can use; set the device to auto or cpu")
    if kind == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if precision == "auto":
        precision = "fp32" if kind == "cpu" else "fp16"
    return Device(torch.device(kind), _DTYPES[precision])


def _best_device() -> DeviceName:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
