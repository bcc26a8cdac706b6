"""Loading of vision-language models (VLM) with transformers: cached, offline, without remote code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import torch

from musetalk_core.errors import EngineOutOfMemory, ModelNotInstalled, WeightsInvalid
from musetalk_core.model_registry.linked_folder import linked_folder
from musetalk_core.model_registry.pins import PinnedModel
from musetalk_core.networks.checkpoint import copy_out_of_mapped_files
from musetalk_core.runtime.config import RuntimeConfig
from musetalk_core.runtime.device import Device, choose_device
from musetalk_core.runtime.model_cache import get_loaded_model
from musetalk_core.types import Image

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image as PillowImage

_MAX_SIDE_PX: Final = 2048
"""Maximum longer side in pixels; some models split larger images into more tiles than fit in memory."""


@dataclass(frozen=True)
class LoadedVlm:
    """
    A loaded vision-language model with its processor.

    Attributes:
        net:       transformers' model; the model cache measures and unloads it.
        processor: transformers' processor, which converts images and text to inputs and token ids to text.
        device:    device and precision.
    """

    net: Any
    processor: Any
    device: Device

    def generate(self, inputs: Mapping[str, Any], **options: Any) -> Any:
        """
        Generate tokens without sampling.

        Args:
            inputs:  outputs of the processor, on any device.
            options: options of transformers' `generate`.

        Returns:
            (1, tokens) token ids.

        Raises:
            EngineOutOfMemory: the device ran out of memory.
        """
        placed = {
            name: value.to(self.device.torch_device, self.net.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }
        try:
            with torch.inference_mode():
                return self.net.generate(**placed, do_sample=False, **options)
        except torch.cuda.OutOfMemoryError as error:
            raise EngineOutOfMemory("The device ran out of memory for this model and image.") from error


def load_vlm(name: str, machine: RuntimeConfig, pinned: PinnedModel | None = None) -> LoadedVlm:
    """
    Return a model of this process from the model cache; load it at first use.

    Args:
        name:    name in the model registry.
        machine: location of the weights, device and precision.
        pinned:  hashes of the files to load; None: the files installed now.

    Raises:
        ModelNotInstalled: a file or a package is missing.
        ModelChanged: the files differ from the pinned ones.
        WeightsInvalid: a file is damaged or belongs to another model.
        InputError: the configured device does not exist.
    """
    device = choose_device(machine.device, machine.precision)
    if device.torch_device.type == "cuda" and machine.precision == "auto" and torch.cuda.is_bf16_supported():
        device = Device(device.torch_device, torch.bfloat16)  # as trained; float16 overflows
    if pinned is None:
        (pinned,) = machine.local_models.pin(name)
    return get_loaded_model(
        machine, pinned, (device.name,), lambda files: _load_from_files(name, files, device)
    )


def _load_from_files(name: str, files: Mapping[str, Path], device: Device) -> LoadedVlm:
    try:
        # not an import statement: the type checker would read 2,700 files more
        transformers: Any = import_module("transformers")
        models, processors = transformers.AutoModelForImageTextToText, transformers.AutoProcessor
    except ImportError as error:
        raise ModelNotInstalled(f"{name} requires the package transformers ({error}).", model=name) from error
    try:
        with linked_folder(files.values()) as folder:
            processor = processors.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            net = models.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=device.dtype,
            )
    except ImportError as error:
        raise ModelNotInstalled(
            f"{name} requires a package that is not installed: {_first_line(error)}", model=name
        ) from error
    except Exception as error:  # transformers raises a dozen types for a bad folder
        raise WeightsInvalid(
            f"{name} in {files['config'].parent} cannot be loaded: {_first_line(error)}", model=name
        ) from error
    net = net.to(device.torch_device).eval()
    copy_out_of_mapped_files(net)
    return LoadedVlm(net, processor, device)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def to_pillow(bgr: Image) -> PillowImage:
    """
    Convert an image to Pillow (RGB), as processors expect it.

    Args:
        bgr: (H, W, 3) uint8 BGR; a longer side of more than 2048 pixels is scaled down to 2048.
    """
    from PIL import Image as Pillow

    scale = _MAX_SIDE_PX / max(bgr.shape[:2])
    if scale < 1:
        size = max(1, round(bgr.shape[1] * scale)), max(1, round(bgr.shape[0] * scale))
        bgr = np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    return Pillow.fromarray(np.ascontiguousarray(bgr[..., ::-1]))
