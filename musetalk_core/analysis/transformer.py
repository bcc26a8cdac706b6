"""Vision-language models out of folders in transformers' layout: loaded once, offline, no code from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import torch

from musetalk_core.errors import EngineOutOfMemory, ModelNotInstalled, WeightsInvalid
from musetalk_core.machine import Machine
from musetalk_core.nets.checkpoint import release_files
from musetalk_core.nets.device import Device, choose_device
from musetalk_core.nets.shelf import loaded_model
from musetalk_core.types import Image
from musetalk_core.weights.linked_folder import linked_folder
from musetalk_core.weights.pins import PinnedModel

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image as PillowImage

_LONGEST_SIDE: Final = 2048
"""Larger pictures are shown to the model at this size: some cut them into more tiles than memory holds."""


@dataclass(frozen=True)
class Loaded:
    """
    A model and what turns pictures and words into its inputs and back.

    Attributes:
        net:       transformers' model; what a shelf weighs and lets go.
        processor: transformers' processor.
        device:    where it computes.
    """

    net: Any
    processor: Any
    device: Device

    def generate(self, inputs: Mapping[str, Any], **options: Any) -> Any:
        """
        Let the model write, without chance.

        Args:
            inputs:  what the processor gave, on any device.
            options: of transformers' `generate`.

        Returns:
            (1, tokens) ids.

        Raises:
            EngineOutOfMemory: the device has not enough memory.
        """
        placed = {
            name: value.to(self.device.place, self.net.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }
        try:
            with torch.inference_mode():
                return self.net.generate(**placed, do_sample=False, **options)
        except torch.cuda.OutOfMemoryError as error:
            raise EngineOutOfMemory("The device has too little memory for this model and picture.") from error


def load(name: str, machine: Machine, pinned: PinnedModel | None = None) -> Loaded:
    """
    Give a model of this process, loading it at first use; it is let go when others need the room.

    Args:
        name:    of the manifest.
        machine: where the weights are and where to compute.
        pinned:  the content of its files; None: what is there now.

    Raises:
        ModelNotInstalled: a file or a package is missing.
        ModelChanged: the files are not the pinned ones any more.
        WeightsInvalid: a file is damaged or belongs to something else.
        InputError: the machine has no such device.
    """
    device = choose_device(machine.device, machine.precision)
    if device.place.type == "cuda" and machine.precision == "auto" and torch.cuda.is_bf16_supported():
        device = Device(device.place, torch.bfloat16)  # what these models were trained in; fp16 overflows
    if pinned is None:
        (pinned,) = machine.layout.pin(name)
    return loaded_model(machine, pinned, (device.name,), lambda files: _load(name, files, device))


def _load(name: str, files: Mapping[str, Path], device: Device) -> Loaded:
    try:
        from transformers import AutoModelForImageTextToText, AutoProcessor
    except ImportError as error:
        raise ModelNotInstalled(f"{name} needs the package transformers ({error}).", model=name) from error
    models: Any = AutoModelForImageTextToText
    processors: Any = AutoProcessor
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
            f"{name} needs a package that is not installed here: {_first_line(error)}", model=name
        ) from error
    except Exception as error:  # transformers answers a bad folder with any of a dozen kinds
        raise WeightsInvalid(
            f"{name} in {files['config'].parent} cannot be loaded: {_first_line(error)}", model=name
        ) from error
    net = net.to(device.place).eval()
    release_files(net)
    return Loaded(net, processor, device)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def shown(bgr: Image) -> PillowImage:
    """
    Turn a picture into what processors take.

    Args:
        bgr: (H, W, 3) uint8 BGR; a longer side of more than 2048 pixels is shrunk to that.
    """
    from PIL import Image as Pillow

    scale = _LONGEST_SIDE / max(bgr.shape[:2])
    if scale < 1:
        size = max(1, round(bgr.shape[1] * scale)), max(1, round(bgr.shape[0] * scale))
        bgr = np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    return Pillow.fromarray(np.ascontiguousarray(bgr[..., ::-1]))
