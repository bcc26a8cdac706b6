"""
CSPNeXt, the convolutional backbone of DWPose. Attribute names are the keys of the official weight file.

The network was trained with torch's BatchNorm epsilon of 1e-5, not with the 1e-3 that is usual for CSPNeXt.
"""

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from torch import Tensor, nn


class CSPNeXt(nn.Module):
    """CSPNeXt-l: (B, 3, 384, 288) float32 normalized RGB -> (B, 1024, 12, 9) features."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_Conv(3, 32, 3, 2), _Conv(32, 32, 3), _Conv(32, 64, 3))
        self.stage1 = nn.Sequential(_Conv(64, 128, 3, 2), _CspStage(128, 3))
        self.stage2 = nn.Sequential(_Conv(128, 256, 3, 2), _CspStage(256, 6))
        self.stage3 = nn.Sequential(_Conv(256, 512, 3, 2), _CspStage(512, 6))
        self.stage4 = nn.Sequential(
            _Conv(512, 1024, 3, 2), _SpatialPyramidPooling(), _CspStage(1024, 3, shortcut=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 1024, 12, 9) features of (B, 3, 384, 288) float32 normalized RGB."""
        return self.stage4(self.stage3(self.stage2(self.stage1(self.stem(x)))))


class _Conv(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.bn(self.conv(x)), inplace=True)


class _SeparableConv(nn.Module):
    """A depthwise-separable convolution: 5x5 per channel, then 1x1 across channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise_conv = _Conv(channels, channels, 5, groups=channels)
        self.pointwise_conv = _Conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.conv1 = _Conv(channels, channels, 3)
        self.conv2 = _SeparableConv(channels)
        self._shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        return y.add_(x) if self._shortcut else y


class _ChannelAttention(nn.Module):
    """Channel attention: features weighted per channel by a gate from their global average."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.fc(x.mean(dim=(2, 3), keepdim=True)))


class _CspStage(nn.Module):
    """A cross-stage-partial stage: half of the channels pass through the blocks, half bypass them."""

    def __init__(self, channels: int, n_blocks: int, shortcut: bool = True) -> None:
        super().__init__()
        half = channels // 2
        self.main_conv = _Conv(channels, half, 1)
        self.short_conv = _Conv(channels, half, 1)
        self.final_conv = _Conv(channels, channels, 1)
        self.blocks = nn.Sequential(*(_ResidualBlock(half, shortcut) for _ in range(n_blocks)))
        self.attention = _ChannelAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat((self.blocks(self.main_conv(x)), self.short_conv(x)), dim=1)
        return self.final_conv(self.attention(both))


class _SpatialPyramidPooling(nn.Module):
    """Spatial pyramid pooling: the input concatenated with max pooling of sizes 5, 9 and 13."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _Conv(1024, 512, 1)
        self.conv2 = _Conv(2048, 1024, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        pooled = (F.max_pool2d(x, size, 1, size // 2) for size in (5, 9, 13))
        return self.conv2(torch.cat((x, *pooled), dim=1))
