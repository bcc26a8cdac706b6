"""VAE latents of face crops, the input of MuseTalk's UNet, and their format on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import torch

from musetalk_core.engines.musetalk.options import Latents
from musetalk_core.errors import InputError
from musetalk_core.nets.device import Device
from musetalk_core.types import Float, Image

if TYPE_CHECKING:  # importing diffusers takes seconds and 200 MB
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

SIDE: Final = 256
SHAPE: Final = (8, 32, 32)
_LOGVAR: Final = (-30.0, 20.0)


def crop256(crop: Image) -> Image:
    """
    Resize a crop to MuseTalk's input size with Lanczos; the aspect ratio is not kept.

    Args:
        crop: (h, w, 3) uint8 BGR, not empty.

    Returns:
        (256, 256, 3) uint8 BGR.
    """
    return np.asarray(cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_LANCZOS4), np.uint8)


def vae_inputs(crops: Sequence[Image], device: Device) -> torch.Tensor:
    """
    Convert crops to VAE inputs.

    Args:
        crops:  B arrays (256, 256, 3) uint8 BGR.
        device: target device and dtype.

    Returns:
        (2B, 3, 256, 256) RGB in -1..1 on the device: for each crop a copy whose lower half is -1, then the
        crop.
    """
    pixels = torch.from_numpy(np.stack(crops)).to(device.place)
    full = pixels.flip(-1).permute(0, 3, 1, 2).to(torch.float32) / 255
    full = (full - 0.5) / 0.5
    masked = full.clone()
    masked[:, :, SIDE // 2 :] = -1
    return torch.stack([masked, full], dim=1).flatten(0, 1).to(device.dtype)


class LatentEncoder:
    """A VAE encoder for batches of crops; `sample` draws noise in the original program's order."""

    def __init__(self, vae: AutoencoderKL, device: Device, latents: Latents = "mode", seed: int = 0) -> None:
        self._vae, self._device = vae, device
        self._noise = torch.Generator().manual_seed(seed) if latents == "sample" else None
        self._scale = float(vae.config["scaling_factor"])

    @torch.inference_mode()
    def encode(self, crops: Sequence[Image]) -> Float:
        """
        Encode a batch of crops.

        Args:
            crops: B arrays (256, 256, 3) uint8 BGR.

        Returns:
            (B, 8, 32, 32) float32: four channels of the crop with its lower half masked, then four of the
            whole crop.
        """
        mean, logvar = self._moments(vae_inputs(crops, self._device)).chunk(2, dim=1)
        if self._noise is not None:
            noise = torch.cat([self._draw(mean[i : i + 1]) for i in range(len(mean))])
            mean = mean + torch.exp(0.5 * logvar.clamp(*_LOGVAR)) * noise
        scaled = (self._scale * mean).to(torch.float32)
        return scaled.reshape(len(crops), 2 * scaled.shape[1], *scaled.shape[2:]).cpu().numpy()

    def _moments(self, images: torch.Tensor) -> torch.Tensor:
        moments = self._vae.encoder(images)
        return moments if self._vae.quant_conv is None else self._vae.quant_conv(moments)

    def _draw(self, like: torch.Tensor) -> torch.Tensor:
        """Draw noise on the CPU, so that a seed gives the same noise on every device."""
        return torch.randn(like.shape, generator=self._noise).to(like.device, like.dtype)


def packed(latents: Float, device: Device) -> bytes:
    """Serialize one frame's (8, 32, 32) latents, float32 or float16 little-endian as the device computes."""
    return latents.astype(_stored(device)).tobytes()


def unpacked(content: bytes, device: Device) -> Float:
    """
    Read latents written by `to_bytes`; ignores bytes after them.

    Returns:
        (8, 32, 32) float32.

    Raises:
        InputError: there are too few bytes.
    """
    kind = np.dtype(_stored(device))
    count = int(np.prod(SHAPE))
    if len(content) < count * kind.itemsize:
        raise InputError("the prepared avatar has no latents for this frame; prepare it again")
    return np.frombuffer(content, kind, count).astype(np.float32).reshape(SHAPE)


def packed_size(device: Device) -> int:
    """Return the number of bytes that `to_bytes` writes for one frame."""
    return int(np.prod(SHAPE)) * np.dtype(_stored(device)).itemsize


def _stored(device: Device) -> str:
    return "<f4" if device.dtype is torch.float32 else "<f2"
