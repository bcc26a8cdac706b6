"""
VQGAN encoder, codebook and generator: the autoencoder around CodeFormer's transformer.

Attribute names are the keys of the official weight file. Architecture: Esser et al., arXiv 2012.09841.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from torch import Tensor, nn

NORM_GROUPS: Final = 32
_BLOCKS_PER_LEVEL: Final = 2


@dataclass(frozen=True, slots=True)
class VqganSize:
    """
    Sizes of the autoencoder; the defaults are those of CodeFormer's official weights, others are for tests.

    Attributes:
        side:          of the pictures in pixels.
        channels:      channels of each level, multiples of 32; each level halves the side.
        code_channels: length of a code.
        codebook_size: number of codes.
    """

    side: int = 512
    channels: tuple[int, ...] = (64, 128, 128, 256, 256, 512)
    code_channels: int = 256
    codebook_size: int = 1024

    @property
    def code_side(self) -> int:
        """Return the side of the map of codes."""
        return self.side >> (len(self.channels) - 1)

    @property
    def sides(self) -> tuple[int, ...]:
        """Return the side of each level in pixels, the largest first."""
        return tuple(self.side >> level for level in range(len(self.channels)))


OFFICIAL_SIZE: Final = VqganSize()


class Encoder(nn.Module):
    """The encoder: (B, 3, side, side) pictures -> (B, code_channels, code_side, code_side) features."""

    def __init__(self, size: VqganSize) -> None:
        super().__init__()
        first, last = size.channels[0], size.channels[-1]
        blocks: list[nn.Module] = [nn.Conv2d(3, first, 3, padding=1)]
        self._level_ends: dict[int, int] = {}
        inputs = first
        for side, outputs in zip(size.sides, size.channels, strict=True):
            blocks += _level(inputs, outputs, has_attention=side == size.code_side)
            inputs = outputs
            self._level_ends[len(blocks) - 1] = side
            if side != size.code_side:
                blocks.append(_Halving(outputs))
        blocks += [*_middle(last), _norm(last), nn.Conv2d(last, size.code_channels, 3, padding=1)]
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, kept_sides: Sequence[int]) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the features, and those at the end of some levels by side."""
        kept: dict[int, Tensor] = {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            side = self._level_ends.get(index)
            if side is not None and side in kept_sides:
                kept[side] = x
        return x, kept


class Generator(nn.Module):
    """The generator: (B, code_channels, code_side, code_side) codes -> (B, 3, side, side) pictures."""

    def __init__(self, size: VqganSize) -> None:
        super().__init__()
        inputs = size.channels[-1]
        blocks: list[nn.Module] = [nn.Conv2d(size.code_channels, inputs, 3, padding=1), *_middle(inputs)]
        self.fusion_sides: dict[int, int] = {}
        """Index of the first residual block of a level -> side of the level."""
        for side, outputs in zip(reversed(size.sides), reversed(size.channels), strict=True):
            self.fusion_sides[len(blocks)] = side
            blocks += _level(inputs, outputs, has_attention=side == size.code_side)
            inputs = outputs
            if side != size.side:
                blocks.append(_Doubling(outputs))
        blocks += [_norm(inputs), nn.Conv2d(inputs, 3, 3, padding=1)]
        self.blocks = nn.ModuleList(blocks)


class Codebook(nn.Module):
    """The codes, which only this module's owner reads."""

    def __init__(self, size: VqganSize) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size.codebook_size, size.code_channels)


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut, (B, inputs, h, w) -> (B, outputs, h, w)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = _norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = _norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_out = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Add the convolutions' result to the input."""
        y = self.conv1(F.silu(self.norm1(x)))
        return self.conv2(F.silu(self.norm2(y))) + self.conv_out(x)


class _Attention(nn.Module):
    """Self-attention with one head over all pixels of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q, self.k, self.v = (nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        query, key, value = (project(y).flatten(2).transpose(1, 2) for project in (self.q, self.k, self.v))
        attended = F.scaled_dot_product_attention(query, key, value)
        return x + self.proj_out(attended.transpose(1, 2).reshape(x.shape))


class _Halving(nn.Module):
    """A convolution of stride 2 whose padding is below and to the right only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class _Doubling(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


def _level(inputs: int, outputs: int, *, has_attention: bool) -> list[nn.Module]:
    """Return the blocks of a level; only the level of the codes has attention, after each residual block."""
    blocks: list[nn.Module] = []
    for channels in (inputs, *(outputs,) * (_BLOCKS_PER_LEVEL - 1)):
        blocks.append(ResidualBlock(channels, outputs))
        if has_attention:
            blocks.append(_Attention(outputs))
    return blocks


def _middle(channels: int) -> list[nn.Module]:
    return [ResidualBlock(channels, channels), _Attention(channels), ResidualBlock(channels, channels)]


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(NORM_GROUPS, channels, eps=1e-6)
