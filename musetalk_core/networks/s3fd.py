"""
S3FD face detector, run on whole pictures at full resolution as in the original MuseTalk.

A VGG-16 with heads at six strides. Attribute names are the keys of the official weight file. The first three
stages use nearly all the memory, so they run in horizontal strips. Each strip includes the rows of its
neighbors that its convolutions reach, so the result equals that of the whole picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from torch import Tensor, nn

from musetalk_core.networks.convnet import load_net
from musetalk_core.runtime.device import Device
from musetalk_core.types import Box, Float, Image

STRIDES: Final = (4, 8, 16, 32, 64, 128)
MIN_SIDE_PX: Final = 32
"""Shortest side of a picture that the network can process; in smaller pictures no face is found."""

_MEANS: Final = (104.0, 117.0, 123.0)  # parity: the original subtracts the B, G, R means from R, G, B
_MIN_SCORE: Final = 0.5
_SAME_FACE_IOU: Final = 0.3
_MAX_STRIP_PX: Final = 1 << 20
_STRIP_MARGIN_ROWS: Final = 24
"""1 + 1 (stage 1) + 2 * 2 (stage 2) + 4 * 3 (stage 3) + 4 (head) = 22 rows, up to the next multiple of 8."""

HeadMaps = Sequence[tuple[Tensor, Tensor]]
"""Per stride: (1, 2, h, w) logits of background and face, (1, 4, h, w) box offsets."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """
    A detected face.

    Attributes:
        box:   (4,) float32 x1, y1, x2, y2 in pixels, not clipped to the picture.
        score: confidence, 0.5..1.
    """

    box: Float
    score: float


class FaceDetector:
    """A face detector for single pictures."""

    def __init__(self, net: "S3FD", device: Device, max_side: int | None = None) -> None:
        """
        Wrap a loaded network.

        Args:
            net:      in eval mode, on the device.
            device:   the device of `net`.
            max_side: scale pictures with a longer side down to it, which saves time and memory but loses
                faces below about 20 pixels in the scaled picture. None = never, as in the original.
        """
        self._net = net
        self._torch_device = device.torch_device
        self._means = torch.tensor(_MEANS, device=device.torch_device).view(1, 3, 1, 1)
        self._max_side = max_side

    def detect(self, image: Image) -> list[Detection]:
        """
        Return all faces of an (H, W, 3) uint8 BGR image, best score first.

        Without `max_side` the time grows with the number of pixels; memory grows slowly (under 2 GB at
        4096x4096).
        """
        smaller, scale = self._scale_down(image)
        if min(smaller.shape[:2]) < MIN_SIDE_PX:
            return []
        # parity: the original suppresses overlaps among scores over 0.05 and drops those up to 0.5
        # afterwards. A box only suppresses lower scores, so dropping first gives the same boxes.
        boxes = suppress_overlaps(candidate_boxes(self._head_maps(smaller), _MIN_SCORE))
        boxes[:, :4] *= scale
        return [Detection(row[:4], float(row[4])) for row in boxes]

    def first_box(self, image: Image) -> Box | None:
        """Return the best face's box as the original uses it: clipped at 0 only, truncated to integers."""
        detections = self.detect(image)
        return Box(*(int(v) for v in detections[0].box.clip(min=0))) if detections else None

    def _scale_down(self, image: Image) -> tuple[Image, float]:
        """Return the picture scaled down to `max_side`, and the factor back to the input's coordinates."""
        height, width = image.shape[:2]
        scale = max(height, width) / self._max_side if self._max_side else 1.0
        if scale <= 1:
            return image, 1.0
        size = max(1, round(width / scale)), max(1, round(height / scale))
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), scale

    def _head_maps(self, image: Image) -> HeadMaps:
        with torch.inference_mode():
            pixels = torch.from_numpy(np.array(image)).to(self._torch_device)
            return self._net(pixels.permute(2, 0, 1)[None].flip(1).float() - self._means)


def load_detector(path: Path, device: Device, max_side: int | None = None) -> FaceDetector:
    """
    Load S3FD from `s3fd-619a316812.pth`. The network always runs in float32.

    Raises:
        ModelNotInstalled: the file is missing.
        WeightsInvalid: the file is damaged or belongs to another network.
    """
    return FaceDetector(load_net(S3FD, path, device), device, max_side)


def candidate_boxes(maps: HeadMaps, min_score: float) -> Float:
    """Return the boxes of all strides with a score over `min_score`: (n, 5) float32 x1, y1, x2, y2, score."""
    boxes = [np.empty((0, 5), np.float32)]
    for stride, (logits, offsets) in zip(STRIDES, maps, strict=True):
        scores = torch.softmax(logits[0], dim=0)[1]
        y, x = torch.nonzero(scores > min_score, as_tuple=True)
        # SSD box coding: anchors of 4 strides, center offsets times 0.1, log sizes times 0.2 (the variances).
        shift = offsets[0, :, y, x].T.cpu().numpy()
        cells = torch.stack((x, y), dim=1).cpu().numpy()
        side = 4 * stride
        centre = stride / 2 + cells * stride + shift[:, :2] * 0.1 * side
        size = side * np.exp(shift[:, 2:] * 0.2)
        corner = centre - size / 2
        boxes.append(
            np.hstack((corner, corner + size, scores[y, x].cpu().numpy()[:, None])).astype(np.float32)
        )
    return np.concatenate(boxes)


def suppress_overlaps(boxes: Float) -> Float:
    """Apply non-maximum suppression at an IoU of 0.3 to (n, 5) boxes; best score first, inclusive edges."""
    remaining = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    kept: list[Float] = []
    while len(remaining):
        best, remaining = remaining[0], remaining[1:]
        kept.append(best)
        low, high = np.maximum(best[:2], remaining[:, :2]), np.minimum(best[2:4], remaining[:, 2:4])
        overlap_area = (high - low + 1).clip(min=0).prod(axis=1)
        area = (best[2:4] - best[:2] + 1).prod() + (remaining[:, 2:4] - remaining[:, :2] + 1).prod(axis=1)
        remaining = remaining[overlap_area / (area - overlap_area) <= _SAME_FACE_IOU]
    return np.stack(kept) if kept else boxes


class S3FD(nn.Module):
    """The whole network: (1, 3, H, W) float32 RGB minus the means, H and W at least 32 -> maps per stride."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1_1, self.conv1_2 = _conv3x3(3, 64), _conv3x3(64, 64)
        self.conv2_1, self.conv2_2 = _conv3x3(64, 128), _conv3x3(128, 128)
        self.conv3_1, self.conv3_2, self.conv3_3 = _conv3x3(128, 256), _conv3x3(256, 256), _conv3x3(256, 256)
        self.conv4_1, self.conv4_2, self.conv4_3 = _conv3x3(256, 512), _conv3x3(512, 512), _conv3x3(512, 512)
        self.conv5_1, self.conv5_2, self.conv5_3 = _conv3x3(512, 512), _conv3x3(512, 512), _conv3x3(512, 512)
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=3)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.conv6_1, self.conv6_2 = nn.Conv2d(1024, 256, 1), nn.Conv2d(256, 512, 3, 2, 1)
        self.conv7_1, self.conv7_2 = nn.Conv2d(512, 128, 1), nn.Conv2d(128, 256, 3, 2, 1)
        self.conv3_3_norm, self.conv4_3_norm, self.conv5_3_norm = _L2Norm(256), _L2Norm(512), _L2Norm(512)
        self.conv3_3_norm_mbox_conf, self.conv3_3_norm_mbox_loc = _conv3x3(256, 4), _conv3x3(256, 4)
        self.conv4_3_norm_mbox_conf, self.conv4_3_norm_mbox_loc = _conv3x3(512, 2), _conv3x3(512, 4)
        self.conv5_3_norm_mbox_conf, self.conv5_3_norm_mbox_loc = _conv3x3(512, 2), _conv3x3(512, 4)
        self.fc7_mbox_conf, self.fc7_mbox_loc = _conv3x3(1024, 2), _conv3x3(1024, 4)
        self.conv6_2_mbox_conf, self.conv6_2_mbox_loc = _conv3x3(512, 2), _conv3x3(512, 4)
        self.conv7_2_mbox_conf, self.conv7_2_mbox_loc = _conv3x3(256, 2), _conv3x3(256, 4)

    def forward(self, x: Tensor, max_strip_px: int = _MAX_STRIP_PX) -> list[tuple[Tensor, Tensor]]:
        """Compute the maps; pictures over `max_strip_px` pixels run through the fine stages in strips."""
        x, logits, offsets = self._fine_stages(x, max_strip_px)
        maps = [(logits, offsets)]
        x = _conv_relu(x, self.conv4_1, self.conv4_2, self.conv4_3)
        y = self.conv4_3_norm(x)
        maps.append((self.conv4_3_norm_mbox_conf(y), self.conv4_3_norm_mbox_loc(y)))
        x = _conv_relu(F.max_pool2d(x, 2), self.conv5_1, self.conv5_2, self.conv5_3)
        y = self.conv5_3_norm(x)
        maps.append((self.conv5_3_norm_mbox_conf(y), self.conv5_3_norm_mbox_loc(y)))
        x = _conv_relu(F.max_pool2d(x, 2), self.fc6, self.fc7)
        maps.append((self.fc7_mbox_conf(x), self.fc7_mbox_loc(x)))
        x = _conv_relu(x, self.conv6_1, self.conv6_2)
        maps.append((self.conv6_2_mbox_conf(x), self.conv6_2_mbox_loc(x)))
        x = _conv_relu(x, self.conv7_1, self.conv7_2)
        maps.append((self.conv7_2_mbox_conf(x), self.conv7_2_mbox_loc(x)))
        return maps

    def _fine_stages(self, x: Tensor, max_strip_px: int) -> tuple[Tensor, Tensor, Tensor]:
        """Run stages 1 to 3: return the input of stage 4, at 1/8, and the maps of the first head, at 1/4."""
        height, width = x.shape[2:]
        if height * width <= max_strip_px:
            return self._fine_stages_of_strip(x)
        step = max(64, max_strip_px // width // 8 * 8)
        parts: list[list[Tensor]] = []
        for top in range(0, height // 8 * 8, step):
            bottom = height if top + step >= height // 8 * 8 else top + step
            first = max(0, top - _STRIP_MARGIN_ROWS)
            outputs = self._fine_stages_of_strip(x[:, :, first : min(height, bottom + _STRIP_MARGIN_ROWS)])
            kept_rows = (slice((top - first) // stride, (bottom - first) // stride) for stride in (8, 4, 4))
            parts.append([part[:, :, rows] for part, rows in zip(outputs, kept_rows, strict=True)])
        coarse, logits, offsets = (torch.cat(column, dim=2) for column in zip(*parts, strict=True))
        return coarse, logits, offsets

    def _fine_stages_of_strip(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.max_pool2d(_conv_relu(x, self.conv1_1, self.conv1_2), 2)
        x = F.max_pool2d(_conv_relu(x, self.conv2_1, self.conv2_2), 2)
        x = _conv_relu(x, self.conv3_1, self.conv3_2, self.conv3_3)
        y = self.conv3_3_norm(x)
        logits = self.conv3_3_norm_mbox_conf(y)
        # The finest level has three background classes (max-out), because it has the most false positives.
        logits = torch.cat((logits[:, :3].amax(dim=1, keepdim=True), logits[:, 3:]), dim=1)
        return F.max_pool2d(x, 2), logits, self.conv3_3_norm_mbox_loc(y)


class _L2Norm(nn.Module):
    """L2 normalization of each pixel's features, then a learned scale per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10
        return (x / length).mul_(self.weight[:, None, None])


def _conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _conv_relu(x: Tensor, *convs: nn.Conv2d) -> Tensor:
    for conv in convs:
        x = F.relu(conv(x), inplace=True)
    return x
