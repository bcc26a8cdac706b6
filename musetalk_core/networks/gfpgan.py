"""
GFPGAN 1.4, face restoration: a U-Net removes the degradation and drives a StyleGAN2 decoder.

Attribute names are the keys of the official `GFPGANv1.4.pth`. The file also has heads for training and the
decoder's mapping network; they are defined here only so that all keys can be checked, and `load_gfpgan`
deletes them. Architecture: Wang et al., arXiv 2101.04061, in its variant without compiled operators.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final

import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from torch import Tensor, nn

from musetalk_core.errors import InputError
from musetalk_core.networks.convnet import load_net
from musetalk_core.networks.stylegan2 import (
    FIRST_SIDE_PX,
    StyleGAN2Decoder,
    Transform,
    channels_at,
    doubling_sides,
)
from musetalk_core.runtime.device import Device

INPUT_PX: Final = 512


class GFPGAN(nn.Module):
    """
    The whole network: (B, 3, side, side) float32 RGB, -1..1 -> restored faces of the same form.

    The same input gives the same output: the decoder's noise is stored in the weight file.
    """

    def __init__(
        self,
        side: int = INPUT_PX,
        style_features: int = 512,
        mlp_layers: int = 8,
        channel_multiplier: int = 2,
        narrow: float = 1,
    ) -> None:
        """
        Build the network; the defaults are those of the official weights, other values are for tests.

        Args:
            side:               of the pictures in pixels, a power of two from 8 to 1024.
            style_features:     length of a style code.
            mlp_layers:         layers of the unused mapping network.
            channel_multiplier: factor of the channels of levels above 32 pixels.
            narrow:             factor of all channels.
        """
        super().__init__()
        self._side, self._style_features = side, style_features
        sides = doubling_sides(side)
        channels = [channels_at(level, channel_multiplier, narrow / 2) for level in (FIRST_SIDE_PX, *sides)]
        up = list(pairwise(channels))
        self.conv_body_first = nn.Conv2d(3, channels[-1], 1)
        self.conv_body_down = nn.ModuleList(
            _ResidualBlock(fine, coarse, 0.5) for coarse, fine in reversed(up)
        )
        self.final_conv = nn.Conv2d(channels[0], channels[0], 3, padding=1)
        self.conv_body_up = nn.ModuleList(_ResidualBlock(coarse, fine, 2) for coarse, fine in up)
        self.toRGB = nn.ModuleList(nn.Conv2d(fine, 3, 1) for fine in channels[1:])
        self.final_linear = nn.Linear(channels[0] * FIRST_SIDE_PX**2, (2 * len(sides) + 2) * style_features)
        self.stylegan_decoder = StyleGAN2Decoder(side, style_features, mlp_layers, channel_multiplier, narrow)
        self.condition_scale = nn.ModuleList(_condition(fine) for fine in channels[1:])
        self.condition_shift = nn.ModuleList(_condition(fine) for fine in channels[1:])

    def forward(self, faces: Tensor) -> Tensor:
        """
        Restore faces that are aligned to the FFHQ template.

        Args:
            faces: (B, 3, 512, 512) float32 RGB, -1..1.

        Returns:
            Faces of the same shape, not clipped: values may leave -1..1 a little.

        Raises:
            InputError: the shape differs.
        """
        if faces.ndim != 4 or faces.shape[1:] != (3, self._side, self._side):
            raise InputError(f"faces must be (B, 3, {self._side}, {self._side}), not {tuple(faces.shape)}")
        x = F.leaky_relu(self.conv_body_first(faces), 0.2, inplace=True)
        skips: list[Tensor] = []
        for down in self.conv_body_down:
            x = down(x)
            skips.append(x)
        x = F.leaky_relu(self.final_conv(x), 0.2, inplace=True)
        codes = self.final_linear(x.flatten(1)).unflatten(1, (-1, self._style_features))
        transforms: list[Transform] = []
        for up, scale, shift in zip(
            self.conv_body_up, self.condition_scale, self.condition_shift, strict=True
        ):
            x = up(x + skips.pop())
            transforms.append((scale(x), shift(x)))
        return self.stylegan_decoder(codes, transforms)


def load_gfpgan(path: Path, device: Device, build_net: Callable[[], GFPGAN] = GFPGAN) -> GFPGAN:
    """
    Load GFPGAN from `GFPGANv1.4.pth`. The network always runs in float32, the only published precision.

    Args:
        path:      the weight file.
        device:    where to run; call the network within `torch.inference_mode()` with inputs on it.
        build_net: another size, for tests.

    Raises:
        ModelNotInstalled: the file is missing.
        WeightsInvalid: the file is damaged or belongs to another network.
    """
    net = load_net(build_net, path, device)
    del net.toRGB, net.stylegan_decoder.style_mlp
    return net


class _ResidualBlock(nn.Module):
    """A residual block that halves or doubles the side between its two convolutions."""

    def __init__(self, inputs: int, outputs: int, scale: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)
        self._scale = scale

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.conv1(x), 0.2, inplace=True)
        y = F.leaky_relu(self.conv2(self._resize(y)), 0.2, inplace=True)
        return y + self.skip(self._resize(x))

    def _resize(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self._scale, mode="bilinear", align_corners=False)


def _condition(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1),
    )
