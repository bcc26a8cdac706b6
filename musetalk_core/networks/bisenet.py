"""
BiSeNet face parsing: classify each pixel of a face square into 19 classes (skin, nose, lips, neck, hair ...).

A ResNet-18 with a context path, feature fusion and one head. Attribute names are the keys of the official
weight file. The file has two more heads, for training; they are defined here only so that all keys can be
checked, and `load_parser` deletes them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from PIL import Image as Pil
from torch import Tensor, nn

from musetalk_core.errors import InputError
from musetalk_core.networks.convnet import load_net
from musetalk_core.runtime.device import Device
from musetalk_core.types import Image, Mask

CLASS_COUNT: Final = 19
INPUT_PX: Final = 512
_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)
_MAX_BATCH_SIZE: Final = 8


class FaceParser:
    """A face parser: computes class maps of face squares."""

    def __init__(self, net: "BiSeNet", device: Device) -> None:
        self._net = net
        self._torch_device = device.torch_device
        self._mean, self._deviation = (
            torch.tensor(values, device=device.torch_device).view(1, 3, 1, 1) for values in (_MEAN, _STD)
        )

    def label_maps(self, squares: Sequence[Image]) -> list[Mask]:
        """
        Classify the pixels of face squares.

        Args:
            squares: each (n, n, 3) uint8 BGR, of any sizes. They are computed in batches of at most eight.

        Returns:
            For each square a (512, 512) uint8 map of classes 0 to 18.

        Raises:
            InputError: an array is not a square color image.
        """
        inputs = [_prepare_square(square) for square in squares]
        maps: list[Mask] = []
        for start in range(0, len(inputs), _MAX_BATCH_SIZE):
            with torch.inference_mode():
                pixels = torch.from_numpy(np.stack(inputs[start : start + _MAX_BATCH_SIZE])).to(
                    self._torch_device
                )
                classes = self._net(self._normalise(pixels)).argmax(dim=1).to(torch.uint8)
            maps.extend(classes.cpu().numpy())
        return maps

    def _normalise(self, pixels: Tensor) -> Tensor:
        """Convert (B, 512, 512, 3) uint8 RGB to (B, 3, 512, 512) float32, about -2..3, channels last."""
        return (pixels.permute(0, 3, 1, 2).float() / 255 - self._mean) / self._deviation


def load_parser(path: Path, device: Device) -> FaceParser:
    """
    Load the face parser from `79999_iter.pth`. The network always runs in float32.

    Raises:
        ModelNotInstalled: the file is missing.
        WeightsInvalid: the file is damaged or belongs to another network.
    """
    net = load_net(BiSeNet, path, device)
    del net.conv_out16, net.conv_out32
    return FaceParser(net, device)


def _prepare_square(square: Image) -> Image:
    """Resize a BGR square to (512, 512, 3) uint8 RGB; Pillow's filter averages when it scales down."""
    if square.ndim != 3 or square.shape[0] != square.shape[1] or square.shape[2] != 3 or square.size == 0:
        raise InputError(f"a face square must be (n, n, 3), not {square.shape}")
    rgb = Pil.fromarray(cv2.cvtColor(square, cv2.COLOR_BGR2RGB))
    return np.asarray(rgb.resize((INPUT_PX, INPUT_PX), Pil.Resampling.BILINEAR))


class BiSeNet(nn.Module):
    """The whole network: (B, 3, 512, 512) float32 normalized RGB -> (B, 19, 512, 512) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.cp = _ContextPath()
        self.ffm = _FeatureFusion()
        self.conv_out = _Head(256, 256)
        self.conv_out16 = _Head(128, 64)
        self.conv_out32 = _Head(128, 64)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of the main head."""
        fine, coarse = self.cp(x)
        logits = self.conv_out(self.ffm(fine, coarse))
        return F.interpolate(logits, x.shape[2:], mode="bilinear", align_corners=True)


class _ConvNormRelu(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class _Head(nn.Module):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.conv = _ConvNormRelu(inputs, hidden)
        self.conv_out = nn.Conv2d(hidden, CLASS_COUNT, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv(x))


class _ResidualBlock(nn.Module):
    """A residual block: two convolutions and a shortcut, which is a convolution if the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)).add_(self.downsample(x)), inplace=True)


class _ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(_ResidualBlock(64, 64, 1), _ResidualBlock(64, 64, 1))
        self.layer2 = nn.Sequential(_ResidualBlock(64, 128, 2), _ResidualBlock(128, 128, 1))
        self.layer3 = nn.Sequential(_ResidualBlock(128, 256, 2), _ResidualBlock(256, 256, 1))
        self.layer4 = nn.Sequential(_ResidualBlock(256, 512, 2), _ResidualBlock(512, 512, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features at 1/8 (128 channels), 1/16 (256) and 1/32 (512) of the input's size."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x)), inplace=True), 3, 2, 1)
        at8 = self.layer2(self.layer1(x))
        at16 = self.layer3(at8)
        return at8, at16, self.layer4(at16)


class _AttentionRefinement(nn.Module):
    """Attention refinement: features weighted per channel by a gate from their global average."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv = _ConvNormRelu(inputs, 128)
        self.conv_atten = nn.Conv2d(128, 128, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(128)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y * torch.sigmoid(self.bn_atten(self.conv_atten(_global_average(y))))


class _ContextPath(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resnet = _ResNet()
        self.arm16 = _AttentionRefinement(256)
        self.arm32 = _AttentionRefinement(512)
        self.conv_head32 = _ConvNormRelu(128, 128)
        self.conv_head16 = _ConvNormRelu(128, 128)
        self.conv_avg = _ConvNormRelu(512, 128, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return two maps of 128 channels at 1/8: of the backbone, and the context of its coarser levels."""
        at8, at16, at32 = self.resnet(x)
        context = self.arm32(at32) + self.conv_avg(_global_average(at32))
        context = self.conv_head32(F.interpolate(context, at16.shape[2:], mode="nearest"))
        context = self.arm16(at16) + context
        return at8, self.conv_head16(F.interpolate(context, at8.shape[2:], mode="nearest"))


class _FeatureFusion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convblk = _ConvNormRelu(256, 256, 1)
        self.conv1 = nn.Conv2d(256, 64, 1, bias=False)
        self.conv2 = nn.Conv2d(64, 256, 1, bias=False)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        y = self.convblk(torch.cat((fine, coarse), dim=1))
        return y + y * torch.sigmoid(self.conv2(F.relu(self.conv1(_global_average(y)))))


def _global_average(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3), keepdim=True)
