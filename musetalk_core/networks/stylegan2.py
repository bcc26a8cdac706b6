"""
StyleGAN2 generator with spatial feature transforms: the decoder of GFPGAN.

The plain-torch variant without compiled operators: bilinear upsampling, leaky ReLU, noise read from stored
buffers, so the same input gives the same output. Attribute names are the keys of GFPGAN's weight file.
Architecture: Karras et al., arXiv 1912.04958; transforms: Wang et al., arXiv 2101.04061.
"""

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from torch import Tensor, nn

FIRST_SIDE_PX: Final = 4
"""Side of the constant from which a picture grows."""

_DEMODULATION_EPS: Final = 1e-8
_GAIN: Final = 2**0.5

Transform = tuple[Tensor, Tensor]
"""Scale and shift, each (B, c / 2, h, w), of the second half of a level's c channels."""


def doubling_sides(side: int) -> list[int]:
    """Return the sides of the levels above the first: 8, 16, ... up to `side`, a power of two."""
    return [2**exponent for exponent in range(FIRST_SIDE_PX.bit_length(), side.bit_length())]


def channels_at(side: int, channel_multiplier: int, narrow: float) -> int:
    """Return the number of channels of the level of a side in pixels, at most 1024."""
    full = 512 if side <= 32 else 16384 // side * channel_multiplier
    return int(full * narrow)


class StyleGAN2Decoder(nn.Module):
    """
    The decoder: style codes and transforms -> (B, 3, side, side) pictures, about -1..1.

    Each level doubles the side, in two convolutions, and adds its part of the picture to the smaller one.
    """

    def __init__(
        self, side: int, style_features: int, mlp_layers: int, channel_multiplier: int, narrow: float
    ) -> None:
        super().__init__()
        channels = channels_at(FIRST_SIDE_PX, channel_multiplier, narrow)
        self.style_mlp = nn.Sequential(
            *(
                layer
                for _ in range(mlp_layers)
                for layer in (nn.Identity(), nn.Linear(style_features, style_features))
            )
        )
        """Maps random vectors to style codes; not used here, because GFPGAN's encoder gives the codes."""
        self.constant_input = _Constant(channels)
        self.style_conv1 = _StyleConv(channels, channels, style_features)
        self.to_rgb1 = _ToRgb(channels, style_features)
        self.noises = _Noises(side)
        self.style_convs, self.to_rgbs = nn.ModuleList(), nn.ModuleList()
        for level in doubling_sides(side):
            inputs, channels = channels, channels_at(level, channel_multiplier, narrow)
            self.style_convs.append(_StyleConv(inputs, channels, style_features, upsamples=True))
            self.style_convs.append(_StyleConv(channels, channels, style_features))
            self.to_rgbs.append(_ToRgb(channels, style_features))

    def forward(self, codes: Tensor, transforms: Sequence[Transform]) -> Tensor:
        """
        Generate pictures.

        Args:
            codes:      (B, 2 * levels + 2, style_features), levels as `doubling_sides` gives.
            transforms: one for each of these levels, in the order of their sides.
        """
        noises = self.noises.in_order()
        x = self.constant_input.weight.expand(len(codes), -1, -1, -1)
        x = self.style_conv1(x, codes[:, 0], noises[0])
        picture = self.to_rgb1(x, codes[:, 1])
        levels = zip(self.style_convs[::2], self.style_convs[1::2], self.to_rgbs, transforms, strict=True)
        for index, (first, second, to_rgb, transform) in enumerate(levels):
            # two levels share a code: the last code of a level is the first of the next
            at = 2 * index + 1
            x = _transform_half(first(x, codes[:, at], noises[at]), transform)
            x = second(x, codes[:, at + 1], noises[at + 1])
            picture = to_rgb(x, codes[:, at + 2]) + _double_side(picture)
        return picture


class _Constant(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, channels, FIRST_SIDE_PX, FIRST_SIDE_PX))


class _Noises(nn.Module):
    """Stored noise of each convolution, (1, 1, side, side), two per level but one for the first."""

    def __init__(self, side: int) -> None:
        super().__init__()
        sides = [FIRST_SIDE_PX, *(level for level in doubling_sides(side) for _ in range(2))]
        for index, noise_side in enumerate(sides):
            self.register_buffer(f"noise{index}", torch.empty(1, 1, noise_side, noise_side))

    def in_order(self) -> list[Tensor]:
        """Return the noise of each convolution in the order in which they are applied."""
        return list(self.buffers())


class _ModulatedConv(nn.Module):
    """
    A convolution whose kernel is scaled per sample: by a style code, then to unit length per output channel.

    Instead of one kernel per sample, the inputs are scaled by the code and the outputs by the length. This is
    the same arithmetic and lets a batch share the kernel.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, style_features: int, demodulates: bool
    ) -> None:
        super().__init__()
        self.modulation = nn.Linear(style_features, inputs)
        self.weight = nn.Parameter(torch.empty(1, outputs, inputs, kernel, kernel))
        self._demodulates = demodulates

    def forward(self, x: Tensor, code: Tensor, *, upsamples: bool = False) -> Tensor:
        style, weight = self.modulation(code), self.weight[0]
        x = x * style[:, :, None, None]
        if upsamples:
            x = _double_side(x)
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if not self._demodulates:
            return x
        square_length = style.square() @ weight.square().sum(dim=(2, 3)).T
        return x * torch.rsqrt(square_length + _DEMODULATION_EPS)[:, :, None, None]


class _StyleConv(nn.Module):
    """A 3x3 modulated convolution, stored noise times `weight`, bias, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, style_features: int, *, upsamples: bool = False) -> None:
        super().__init__()
        self.modulated_conv = _ModulatedConv(inputs, outputs, 3, style_features, demodulates=True)
        self.weight = nn.Parameter(torch.empty(1))
        self.bias = nn.Parameter(torch.empty(1, outputs, 1, 1))
        self._upsamples = upsamples

    def forward(self, x: Tensor, code: Tensor, noise: Tensor) -> Tensor:
        x = self.modulated_conv(x, code, upsamples=self._upsamples) * _GAIN
        return F.leaky_relu(x + (self.weight * noise + self.bias), 0.2, inplace=True)


class _ToRgb(nn.Module):
    def __init__(self, inputs: int, style_features: int) -> None:
        super().__init__()
        self.modulated_conv = _ModulatedConv(inputs, 3, 1, style_features, demodulates=False)
        self.bias = nn.Parameter(torch.empty(1, 3, 1, 1))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return self.modulated_conv(x, code) + self.bias


def _transform_half(x: Tensor, transform: Transform) -> Tensor:
    """Scale and shift the second half of the channels; the first half stays the generator's own."""
    own, transformed = x.chunk(2, dim=1)
    scale, shift = transform
    return torch.cat((own, transformed * scale + shift), dim=1)


def _double_side(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
