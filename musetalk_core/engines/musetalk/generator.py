"""MuseTalk's forward pass: face latents and audio tokens through UNet and VAE decoder to face crops."""

from __future__ import annotations

import logging
from collections.abc import Generator as Yields
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import nn

from musetalk_core.engine_protocol import OnFace, RenderStats, ignore_face
from musetalk_core.engines.musetalk.batch_size import BatchSize
from musetalk_core.errors import EngineError
from musetalk_core.runtime.device import Device
from musetalk_core.types import Float, Image

if TYPE_CHECKING:  # importing diffusers takes seconds and 200 MB
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    from musetalk_core.networks.fast_unet import FoldedUNet

_log = logging.getLogger(__name__)


CPU_BATCH_SIZE: Final = 4
"""Faces per batch on a CPU, the last batch filled up: twice as fast as one face at a time (docs/LOG.md)."""


class Generator:
    """
    The UNet and VAE decoder in batches on one device. Not thread-safe.

    The kernels that a CPU selects, and with them the rounding, depend on the batch size. All batches on a CPU
    therefore have one size, whatever the settings and the speed of the machine: the same inputs give the same
    bytes.
    """

    def __init__(self, device: Device, batch_size: BatchSize) -> None:
        self._device, self._batch_size = device, batch_size
        self._fp32_retries = 0

    @property
    def batch_size(self) -> int:
        """Return the number of faces of the next batch."""
        return self._batch_size.size

    @property
    def render_stats(self) -> RenderStats:
        """Return device name, batch size, out-of-memory count and fp32 retries so far."""
        return RenderStats(
            self._device.name, self._batch_size.rendered_size, self._batch_size.halvings, self._fp32_retries
        )

    def render_faces(
        self,
        unet: FoldedUNet,
        vae: AutoencoderKL,
        latents: Float,
        tokens: Float,
        on_face: OnFace = ignore_face,
    ) -> list[Image]:
        """
        Render B faces from their latents and audio tokens.

        Args:
            unet:    on the device.
            vae:     on the device.
            latents: (B, 8, 32, 32) float32, see `musetalk_core.engines.musetalk.latents`.
            tokens:  (B, N, 384) float32, with positional encoding.
            on_face: called with the number of finished faces: after each face on a CPU, after each batch
                elsewhere.

        Returns:
            B arrays (256, 256, 3) uint8 BGR. On a GPU the batch size changes rounding: other kernels are
            selected for other sizes; in half precision that was up to 3 levels.

        Raises:
            EngineOutOfMemory: the device has no memory for a single frame.
            EngineError: the networks return non-finite numbers, in full precision too.
        """
        networks, faces = _UnetAndVae(unet, vae), list[Image]()
        while len(faces) < len(latents):
            start = len(faces)

            def render(part: slice) -> Image:
                return self._render_batch(
                    networks, latents[part], tokens[part], lambda done: on_face(part.start + done)
                )

            faces.extend(self._batch_size.run(start, len(latents) - start, render))
            on_face(len(faces))
        return faces

    def _render_batch(self, networks: _UnetAndVae, latents: Float, tokens: Float, on_face: OnFace) -> Image:
        count = len(latents)
        match self._device.torch_device.type:
            case "cuda":
                padded_count = self._batch_size.padded_size(count)
            case "cpu":
                padded_count = self._batch_size.size
            case _:
                padded_count = count
        padded = _pad_batch(latents, padded_count), _pad_batch(tokens, padded_count)
        return self._render_finite(networks, *padded, count, on_face)[:count]

    def _render_finite(
        self, networks: _UnetAndVae, latents: Float, tokens: Float, count: int, on_face: OnFace
    ) -> Image:
        """Render a padded batch of which `count` faces are needed."""
        pixels = self._run_networks(networks, latents, tokens, self._device.dtype, count, on_face)
        if pixels is None and self._device.dtype is not torch.float32:
            _log.warning("half precision overflowed in a batch; rendering it again in full precision")
            self._fp32_retries += 1
            with networks.in_full_precision(self._device.dtype):
                pixels = self._run_networks(networks, latents, tokens, torch.float32, count, on_face)
        if pixels is None:
            raise EngineError(
                "the networks returned values that are not finite; the UNet or VAE weights do not match"
            )
        return pixels

    @torch.inference_mode()
    def _run_networks(
        self,
        networks: _UnetAndVae,
        latents: Float,
        tokens: Float,
        dtype: torch.dtype,
        count: int,
        on_face: OnFace,
    ) -> Image | None:
        """Return (B, 256, 256, 3) uint8 BGR in one copy from the device; None if a value is not finite."""
        torch_device = self._device.torch_device
        sample = torch.from_numpy(np.ascontiguousarray(latents)).to(torch_device, dtype)
        context = torch.from_numpy(np.ascontiguousarray(tokens)).to(torch_device, dtype)
        images = networks.decode(networks.unet(sample, context), count, on_face)
        if not bool(torch.isfinite(images).all()):
            return None
        # RGB about -1..1 -> uint8 BGR, channels last
        pixels = (images.float() / 2 + 0.5).clamp(0, 1).mul_(255).round_().to(torch.uint8)
        return pixels.flip(1).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _pad_batch(values: Float, count: int) -> Float:
    """Repeat the last value until there are `count`."""
    missing = count - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)]) if missing else values


@dataclass(frozen=True, slots=True, eq=False)
class _UnetAndVae:
    unet: FoldedUNet
    vae: AutoencoderKL

    def decode(self, predicted: torch.Tensor, count: int, on_face: OnFace) -> torch.Tensor:
        """
        Decode (B, 4, 32, 32) scaled latents to RGB, about -1..1: (B, 3, 256, 256), or (count, ...) on a CPU.

        On a CPU the images are decoded one at a time: the layers then fit the CPU's caches and need an eighth
        of the memory.
        """
        z = (1 / float(self.vae.config["scaling_factor"])) * predicted
        z = z if self.vae.post_quant_conv is None else self.vae.post_quant_conv(z)
        if z.device.type != "cpu":
            return self.vae.decoder(z)
        images: list[torch.Tensor] = []
        for part in z[:count].split(1):
            images.append(self.vae.decoder(part))
            on_face(len(images))
        return torch.cat(images)

    @contextmanager
    def in_full_precision(self, dtype: torch.dtype) -> Yields[None]:
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
