"""Where networks run and in which precision: one record for a whole process."""

from dataclasses import dataclass

import torch

from musetalk_core.errors import InputError
from musetalk_core.machine import DeviceWord, PrecisionWord

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Device:
    """A torch device and the precision that its large networks compute in."""

    place: torch.device
    dtype: torch.dtype

    @property
    def name(self) -> str:
        """Such as `cuda:float16`; part of cache keys, since precision changes pixels."""
        return f"{self.place.type}:{str(self.dtype).removeprefix('torch.')}"


def choose_device(word: DeviceWord = "auto", precision: PrecisionWord = "auto") -> Device:
    """
    Find the device to use.

    Choosing a card also ends, for the whole process, CUDA's habit to shorten float32 to TF32 (10 bits) in
    convolutions: full precision shall mean the same on every device. Half precision is not concerned.

    Args:
        word:      `auto` takes the best there is. Which card of several is not said here:
                   CUDA_VISIBLE_DEVICES decides before the process starts.
        precision: `auto` is fp16 on cards and fp32 on processors, where half precision is slower.

    Raises:
        InputError: the machine has no such device.
    """
    kind = _best() if word == "auto" else word
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError("this machine has no CUDA device that torch can use; set the device to auto or cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError("this machine has no Apple GPU that torch can use; set the device to auto or cpu")
    if kind == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if precision == "auto":
        precision = "fp32" if kind == "cpu" else "fp16"
    return Device(torch.device(kind), _DTYPES[precision])


def _best() -> DeviceWord:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
