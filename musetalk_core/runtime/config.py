"""Runtime configuration of neural models: models folder, device, precision, memory. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

from musetalk_core.model_registry.local_models import LocalModels

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "fp16", "bf16"]
LandmarkModel = Literal["auto", "dwpose", "mesh"]

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """
    Runtime configuration of neural models on one machine.

    Attributes:
        local_models:  the models folder.
        device:        `auto` selects the best available device.
        precision:     `auto` is fp16 on GPUs and fp32 on CPUs.
        memory_bytes:  memory limit of the model cache; the least recently used models are unloaded first.
        idle_s:        unload models that have been idle for this many seconds; 0 = never.
        landmarks:     `dwpose` as in the original MuseTalk, `mesh` = the bundled face mesh; `auto` = dwpose
            if it is installed.
        batch:         maximum number of frames rendered at once on a GPU; the best size up to it is measured.
        channels_last: use the channels-last memory format for images.
        compile:       compile the networks with torch.compile, which delays the first job.
    """

    local_models: LocalModels
    device: DeviceName = "auto"
    precision: Precision = "auto"
    memory_bytes: int = 6 * GIB
    idle_s: float = 600.0
    landmarks: LandmarkModel = "auto"
    batch: int = 32
    channels_last: bool = False
    compile: bool = False
