"""VAE latents of face crops, the input of MuseTalk's UNet, and their format on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import torch

from musetalk_core.engines.musetalk.options import LatentMode
from musetalk_core.errors import InputError
from musetalk_core.runtime.device import Device
from musetalk_core.types import Float, Image

if TYPE_CHECKING:  # importing diffusers takes seconds and 200 MB
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

CROP_SIZE_PX: Final = 256
LATENT_SHAPE: Final = (8, 32, 32)
_IMAGE_LATENT_SHAPE: Final = (1, 4, 32, 32)
_LOGVAR_RANGE: Final = (-30.0, 20.0)


def resize_crop(crop: Image) -> Image:
    """
    Resize a crop to MuseTalk's input size with Lanczos; the aspect ratio is not kept.

    Args:
        crop: (h, w, 3) uint8 BGR, not empty.

    Returns:
        (256, 256, 3) uint8 BGR.
    """
    return np.asarray(
        cv2.resize(crop, (CROP_SIZE_PX, CROP_SIZE_PX), interpolation=cv2.INTER_LANCZOS4), np.uint8
    )


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
    pixels = torch.from_numpy(np.stack(crops)).to(device.torch_device)
    full = pixels.flip(-1).permute(0, 3, 1, 2).to(torch.float32) / 255
    full = (full - 0.5) / 0.5
    masked = full.clone()
    masked[:, :, CROP_SIZE_PX // 2 :] = -1
    return torch.stack([masked, full], dim=1).flatten(0, 1).to(device.dtype)


class LatentEncoder:
    """A VAE encoder for batches of crops; `sample` draws noise in the original program's order."""

    def __init__(
        self, vae: AutoencoderKL, device: Device, latents: LatentMode = "mode", seed: int = 0
    ) -> None:
        self._vae, self._device = vae, device
        self._noise_generator = torch.Generator().manual_seed(seed) if latents == "sample" else None
        self._scaling_factor = float(vae.config["scaling_factor"])

    def skip(self, crops: int) -> None:
        """Draw the noise of earlier crops, so that a crop gets the same noise wherever encoding starts."""
        if self._noise_generator is not None:
            for _ in range(2 * crops):  # each crop has two images
                torch.randn(_IMAGE_LATENT_SHAPE, generator=self._noise_generator)

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
        if self._noise_generator is not None:
            noise = torch.cat([self._sample_noise(mean[i : i + 1]) for i in range(len(mean))])
            mean = mean + torch.exp(0.5 * logvar.clamp(*_LOGVAR_RANGE)) * noise
        scaled = (self._scaling_factor * mean).to(torch.float32)
        return scaled.reshape(len(crops), 2 * scaled.shape[1], *scaled.shape[2:]).cpu().numpy()

    def _moments(self, images: torch.Tensor) -> torch.Tensor:
        moments = self._vae.encoder(images)
        return moments if self._vae.quant_conv is None else self._vae.quant_conv(moments)

    def _sample_noise(self, template: torch.Tensor) -> torch.Tensor:
        """Draw noise on the CPU, so that a seed gives the same noise on every device."""
        return torch.randn(template.shape, generator=self._noise_generator).to(
            template.device, template.dtype
        )


def to_bytes(latents: Float, device: Device) -> bytes:
    """Serialize one frame's (8, 32, 32) latents, float32 or float16 little-endian as the device computes."""
    return latents.astype(_storage_dtype(device)).tobytes()


def from_bytes(content: bytes, device: Device) -> Float:
    """
    Read latents written by `to_bytes`; ignores bytes after them.

    Returns:
        (8, 32, 32) float32.

    Raises:
        InputError: there are too few bytes.
    """
    dtype = np.dtype(_storage_dtype(device))
    count = int(np.prod(LATENT_SHAPE))
    if len(content) < count * dtype.itemsize:
        raise InputError("the prepared avatar has no latents for this frame; prepare it again")
    return np.frombuffer(content, dtype, count).astype(np.float32).reshape(LATENT_SHAPE)


def latents_size_bytes(device: Device) -> int:
    """Return the number of bytes that `to_bytes` writes for one frame."""
    return int(np.prod(LATENT_SHAPE)) * np.dtype(_storage_dtype(device)).itemsize


def _storage_dtype(device: Device) -> str:
    return "<f4" if device.dtype is torch.float32 else "<f2"
