"""What an operator says about the machine that neural engines run on. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal

from musetalk_core.weights.layout import Layout

DeviceWord = Literal["auto", "cpu", "cuda", "mps"]
PrecisionWord = Literal["auto", "fp32", "fp16", "bf16"]
LandmarksWord = Literal["auto", "dwpose", "mesh"]

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Machine:
    """
    Where the weights are and how they run.

    Attributes:
        layout:       the models folder.
        device:       `auto` takes the best there is.
        precision:    `auto` is fp16 on cards and fp32 on processors.
        memory_bytes: networks above this are let go, least recently used first.
        idle_s:       networks nobody asked for that long are let go; 0: never.
        landmarks:    `dwpose` as the original, `mesh` the packaged one; `auto`: dwpose if it is installed.
        batch:        most frames rendered at once; the good number below it is found by measuring.
        channels_last: lay images out channels last.
        compile:      compile the networks with torch.compile; the first job waits for it.
    """

    layout: Layout
    device: DeviceWord = "auto"
    precision: PrecisionWord = "auto"
    memory_bytes: int = 6 * GIB
    idle_s: float = 600.0
    landmarks: LandmarksWord = "auto"
    batch: int = 32
    channels_last: bool = False
    compile: bool = False
