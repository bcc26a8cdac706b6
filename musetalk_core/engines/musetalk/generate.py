"""The heart of MuseTalk: latents of a face and tokens of a sound, through the UNet and the VAE, to a face."""

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

if TYPE_CHECKING:  # seconds and 200 MB, which only loading needs
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    from musetalk_core.nets.lean import LeanUNet

_log = logging.getLogger(__name__)


class Generator:
    """Renders batches on one device. Not to be called from two threads at once."""

    def __init__(self, device: Device, batch: BatchSize) -> None:
        self._device, self._batch = device, batch
        self._retries = 0

    @property
    def counts(self) -> Counts:
        """What happened so far, for the job's result."""
        return Counts(self._device.name, self._batch.size, self._batch.halvings, self._retries)

    def faces(self, unet: LeanUNet, vae: AutoencoderKL, latents: Float, tokens: Float) -> list[Image]:
        """
        Render faces.

        Args:
            unet, vae: on the device.
            latents: (B, 8, 32, 32) float32, see `musetalk_core.engines.musetalk.latents`.
            tokens:  (B, N, 384) float32, positions added.

        Returns:
            B of (256, 256, 3) uint8 BGR. How the device divides them changes rounding only: a card takes
            other kernels for other sizes; in half precision that was up to 3 levels.

        Raises:
            EngineOutOfMemory: the device cannot hold even one.
            EngineError: the networks give no finite numbers, in full precision either.
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
            _log.warning("half precision overflowed on a batch; it is rendered again in full precision")
            self._retries += 1
            with nets.widened(self._device.dtype):
                pixels = self._pixels(nets, latents, tokens, torch.float32)
        if pixels is None:
            raise EngineError(
                "the networks gave numbers that are not finite; the weights or the VAE do not belong together"
            )
        return pixels

    @torch.inference_mode()
    def _pixels(self, nets: _Nets, latents: Float, tokens: Float, dtype: torch.dtype) -> Image | None:
        """(B, 256, 256, 3) uint8 BGR in one copy from the device, or None where they are not finite."""
        place = self._device.place
        sample = torch.from_numpy(np.ascontiguousarray(latents)).to(place, dtype)
        context = torch.from_numpy(np.ascontiguousarray(tokens)).to(place, dtype)
        images = nets.decoded(nets.unet(sample, context))
        if not bool(torch.isfinite(images).all()):
            return None
        shown = (images.float() / 2 + 0.5).clamp(0, 1).mul_(255).round_().to(torch.uint8)
        return shown.flip(1).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _repeated(values: Float, count: int) -> Float:
    """Make them `count` by repeating the last one."""
    missing = count - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)]) if missing else values


@dataclass(frozen=True, slots=True, eq=False)
class _Nets:
    unet: LeanUNet
    vae: AutoencoderKL

    def decoded(self, predicted: torch.Tensor) -> torch.Tensor:
        """
        (B, 4, 32, 32) scaled latents to (B, 3, 256, 256) RGB, about -1..1.

        One by one on a processor: a frame's layers then fit its caches, and take an eighth of the memory.
        """
        z = (1 / float(self.vae.config["scaling_factor"])) * predicted
        z = z if self.vae.post_quant_conv is None else self.vae.post_quant_conv(z)
        parts = z.split(1) if z.device.type == "cpu" else [z]
        return torch.cat([self.vae.decoder(part) for part in parts])

    @contextmanager
    def widened(self, dtype: torch.dtype) -> Yields[None]:
        """Both in full precision for a while; that fits, since only one batch is rendered so."""
        try:
            for net in (self.unet, self.vae):
                nn.Module.to(net, torch.float32)
            yield
        finally:
            for net in (self.unet, self.vae):
                nn.Module.to(net, dtype)
