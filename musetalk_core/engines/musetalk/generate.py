"""MuseTalk's forward pass: face latents and audio tokens through UNet and VAE decoder to face crops."""

from __future__ import annotations

import logging
from collections.abc import Generator as Yields
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from musetalk_core.engine import Counts
from musetalk_core.engines.musetalk.batching import BatchSize
from musetalk_core.errors import EngineError
from musetalk_core.nets.device import Device
from musetalk_core.types import Float, Image

if TYPE_CHECKING:  # importing diffusers takes seconds and 200 MB
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    from musetalk_core.nets.lean import LeanUNet

_log = logging.getLogger(__name__)


class Generator:
    """The UNet and VAE decoder in batches on one device. Not thread-safe."""

    def __init__(self, device: Device, batch: BatchSize) -> None:
        self._device, self._batch = device, batch
        self._retries = 0

    @property
    def counts(self) -> Counts:
        """Return device name, batch size, out-of-memory count and fp32 retries so far."""
        return Counts(self._device.name, self._batch.size, self._batch.halvings, self._retries)

    def faces(self, unet: LeanUNet, vae: AutoencoderKL, latents: Float, tokens: Float) -> list[Image]:
        """
        Render faces.

        Args:
            unet:    on the device.
            vae:     on the device.
            latents: (B, 8, 32, 32) float32, see `musetalk_core.engines.musetalk.latents`.
            tokens:  (B, N, 384) float32, with positional encoding.

        Returns:
            B arrays (256, 256, 3) uint8 BGR. The batch size changes rounding only: a GPU selects other
            kernels for other sizes; in half precision that was up to 3 levels.

        Raises:
            EngineOutOfMemory: the device has no memory for a single frame.
            EngineError: the networks return non-finite numbers, in full precision too.
        """
        nets, faces = _Nets(unet, vae), list[Image]()
        while len(faces) < len(latents):
            start = len(faces)
            faces.extend(
                self._batch.run(
                    start, len(latents) - start, lambda part: self._part(nets, latents[part], tokens[part])
                )
            )
        return faces

    def _part(self, nets: _Nets, latents: Float, tokens: Float) -> Image:
        count = len(latents)
        if self._device.place.type == "cuda":
            wanted = self._batch.filled(count)
            latents, tokens = _repeated(latents, wanted), _repeated(tokens, wanted)
        return self._finite(nets, latents, tokens)[:count]

    def _finite(self, nets: _Nets, latents: Float, tokens: Float) -> Image:
        pixels = self._pixels(nets, latents, tokens, self._device.dtype)
        if pixels is None and self._device.dtype is not torch.float32:
            _log.warning("half precision overflowed in a batch; rendering it again in full precision")
            self._retries += 1
            with nets.widened(self._device.dtype):
                pixels = self._pixels(nets, latents, tokens, torch.float32)
        if pixels is None:
            raise EngineError(
                "the networks returned values that are not finite; the UNet or VAE weights do not match"
            )
        return pixels

    @torch.inference_mode()
    def _pixels(self, nets: _Nets, latents: Float, tokens: Float, dtype: torch.dtype) -> Image | None:
        """Return (B, 256, 256, 3) uint8 BGR in one copy from the device; None if a value is not finite."""
        place = self._device.place
        sample = torch.from_numpy(np.ascontiguousarray(latents)).to(place, dtype)
        context = torch.from_numpy(np.ascontiguousarray(tokens)).to(place, dtype)
        images = nets.decoded(nets.unet(sample, context))
        if not bool(torch.isfinite(images).all()):
            return None
        # RGB about -1..1 -> uint8 BGR, channels last
        shown = (images.float() / 2 + 0.5).clamp(0, 1).mul_(255).round_().to(torch.uint8)
        return shown.flip(1).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _repeated(values: Float, count: int) -> Float:
    """Repeat the last value until there are `count`."""
    missing = count - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)]) if missing else values


@dataclass(frozen=True, slots=True, eq=False)
class _Nets:
    unet: LeanUNet
    vae: AutoencoderKL

    def decoded(self, predicted: torch.Tensor) -> torch.Tensor:
        """
        Decode (B, 4, 32, 32) scaled latents to (B, 3, 256, 256) RGB, about -1..1.

        On a CPU the images are decoded one at a time: the layers then fit the CPU's caches and need an eighth
        of the memory.
        """
        z = (1 / float(self.vae.config["scaling_factor"])) * predicted
        z = z if self.vae.post_quant_conv is None else self.vae.post_quant_conv(z)
        parts = z.split(1) if z.device.type == "cpu" else [z]
        return torch.cat([self.vae.decoder(part) for part in parts])

    @contextmanager
    def widened(self, dtype: torch.dtype) -> Yields[None]:
        """
        Convert both networks to float32, and back on exit.

        Memory suffices because only one batch is rendered this way.
        """
        try:
            for net in (self.unet, self.vae):
                nn.Module.to(net, torch.float32)
            yield
        finally:
            for net in (self.unet, self.vae):
                nn.Module.to(net, dtype)
