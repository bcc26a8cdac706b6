"""
S3FD: a face detector that reads whole pictures at their own size, as the original does.

A VGG-16 with heads at six strides. Attribute names are the keys of the official file. The first three stages
hold nearly all the memory, so they run in horizontal strips: a strip carries the rows of its neighbours that
its convolutions reach, and gives what the whole picture would give.
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

from musetalk_core.nets.convnet import load_net
from musetalk_core.nets.device import Device
from musetalk_core.types import Box, Float, Image

STRIDES: Final = (4, 8, 16, 32, 64, 128)
SMALLEST_PX: Final = 32
"""Pictures with a shorter side vanish in the net; no face is found in them."""

_MEANS: Final = (104.0, 117.0, 123.0)  # parity: the blue, green and red means, taken from red, green and blue
_SCORE: Final = 0.5
_SAME_FACE_IOU: Final = 0.3
_STRIP_PX: Final = 1 << 20
_REACH_ROWS: Final = 24
"""1 + 1 (stage 1) + 2 * 2 (stage 2) + 4 * 3 (stage 3) + 4 (head) = 22 rows, up to the next multiple of 8."""

Maps = Sequence[tuple[Tensor, Tensor]]
"""For each stride: (1, 2, h, w) logits of background and face, (1, 4, h, w) box offsets."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """
    One face found in a picture.

    Attributes:
        box:   (4,) float32 x1, y1, x2, y2 in pixels, not clipped to the picture.
        score: 0.5..1.
    """

    box: Float
    score: float


class FaceDetector:
    """Finds faces in single pictures."""

    def __init__(self, net: "S3FD", device: Device, max_side: int | None = None) -> None:
        """
        Wrap a loaded net.

        Args:
            net:      in eval mode, on the device.
            device:   where it is.
            max_side: pictures with a longer side are scaled down to it first, which saves time and memory and
                      loses faces of less than some twenty pixels then. None, as in the original: never.
        """
        self._net = net
        self._place = device.place
        self._means = torch.tensor(_MEANS, device=device.place).view(1, 3, 1, 1)
        self._max_side = max_side

    def detect(self, image: Image) -> list[Detection]:
        """
        Find all faces of an image (H, W, 3) uint8 BGR, best score first.

        Without `max_side` time grows with the pixels; memory too, but slowly (under 2 GB at 4096x4096).
        """
        smaller, scale = self._scaled(image)
        if min(smaller.shape[:2]) < SMALLEST_PX:
            return []
        # parity: the original suppresses among scores over 0.05 and drops those up to 0.5 afterwards. A box
        # suppresses lower scores only, so that dropping first gives the same boxes.
        found = suppress(candidates(self._maps(smaller), _SCORE))
        found[:, :4] *= scale
        return [Detection(row[:4], float(row[4])) for row in found]

    def first_box(self, image: Image) -> Box | None:
        """The best face's box as the original takes it: clipped below at 0 only, fractions dropped."""
        found = self.detect(image)
        return Box(*(int(v) for v in found[0].box.clip(min=0))) if found else None

    def _scaled(self, image: Image) -> tuple[Image, float]:
        """A smaller picture, and what its coordinates are to be multiplied by."""
        height, width = image.shape[:2]
        scale = max(height, width) / self._max_side if self._max_side else 1.0
        if scale <= 1:
            return image, 1.0
        size = max(1, round(width / scale)), max(1, round(height / scale))
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), scale

    def _maps(self, image: Image) -> Maps:
        with torch.inference_mode():
            pixels = torch.from_numpy(np.array(image)).to(self._place)
            return self._net(pixels.permute(2, 0, 1)[None].flip(1).float() - self._means)


def load_detector(path: Path, device: Device, max_side: int | None = None) -> FaceDetector:
    """
    Read `s3fd-619a316812.pth`; the net runs in float32 whatever the device record says.

    Raises:
        ModelNotInstalled: there is no such file.
        WeightsInvalid: it is damaged or of another net.
    """
    return FaceDetector(load_net(S3FD, path, device), device, max_side)


def candidates(maps: Maps, above: float) -> Float:
    """All boxes with a score over `above`, of every stride: (n, 5) float32 x1, y1, x2, y2, score."""
    found = [np.empty((0, 5), np.float32)]
    for stride, (logits, offsets) in zip(STRIDES, maps, strict=True):
        scores = torch.softmax(logits[0], dim=0)[1]
        y, x = torch.nonzero(scores > above, as_tuple=True)
        shift = offsets[0, :, y, x].T.cpu().numpy()
        cells = torch.stack((x, y), dim=1).cpu().numpy()
        side = 4 * stride
        centre = stride / 2 + cells * stride + shift[:, :2] * 0.1 * side
        size = side * np.exp(shift[:, 2:] * 0.2)
        corner = centre - size / 2
        found.append(
            np.hstack((corner, corner + size, scores[y, x].cpu().numpy()[:, None])).astype(np.float32)
        )
    return np.concatenate(found)


def suppress(boxes: Float) -> Float:
    """Of boxes (n, 5) that overlap by over 0.3 only the best, best score first; edges count as pixels."""
    left = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    kept: list[Float] = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        low, high = np.maximum(best[:2], left[:, :2]), np.minimum(best[2:4], left[:, 2:4])
        common = (high - low + 1).clip(min=0).prod(axis=1)
        area = (best[2:4] - best[:2] + 1).prod() + (left[:, 2:4] - left[:, :2] + 1).prod(axis=1)
        left = left[common / (area - common) <= _SAME_FACE_IOU]
    return np.stack(kept) if kept else boxes


class S3FD(nn.Module):
    """The whole net: (1, 3, H, W) float32 RGB less the means, both sides at least 32 -> maps a stride."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1_1, self.conv1_2 = _conv(3, 64), _conv(64, 64)
        self.conv2_1, self.conv2_2 = _conv(64, 128), _conv(128, 128)
        self.conv3_1, self.conv3_2, self.conv3_3 = _conv(128, 256), _conv(256, 256), _conv(256, 256)
        self.conv4_1, self.conv4_2, self.conv4_3 = _conv(256, 512), _conv(512, 512), _conv(512, 512)
        self.conv5_1, self.conv5_2, self.conv5_3 = _conv(512, 512), _conv(512, 512), _conv(512, 512)
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=3)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.conv6_1, self.conv6_2 = nn.Conv2d(1024, 256, 1), nn.Conv2d(256, 512, 3, 2, 1)
        self.conv7_1, self.conv7_2 = nn.Conv2d(512, 128, 1), nn.Conv2d(128, 256, 3, 2, 1)
        self.conv3_3_norm, self.conv4_3_norm, self.conv5_3_norm = _Norm(256), _Norm(512), _Norm(512)
        self.conv3_3_norm_mbox_conf, self.conv3_3_norm_mbox_loc = _conv(256, 4), _conv(256, 4)
        self.conv4_3_norm_mbox_conf, self.conv4_3_norm_mbox_loc = _conv(512, 2), _conv(512, 4)
        self.conv5_3_norm_mbox_conf, self.conv5_3_norm_mbox_loc = _conv(512, 2), _conv(512, 4)
        self.fc7_mbox_conf, self.fc7_mbox_loc = _conv(1024, 2), _conv(1024, 4)
        self.conv6_2_mbox_conf, self.conv6_2_mbox_loc = _conv(512, 2), _conv(512, 4)
        self.conv7_2_mbox_conf, self.conv7_2_mbox_loc = _conv(256, 2), _conv(256, 4)

    def forward(self, x: Tensor, strip_px: int = _STRIP_PX) -> list[tuple[Tensor, Tensor]]:
        """Compute the maps; pictures of more than `strip_px` pixels go through the fine stages in strips."""
        x, logits, offsets = self._fine(x, strip_px)
        maps = [(logits, offsets)]
        x = _through(x, self.conv4_1, self.conv4_2, self.conv4_3)
        y = self.conv4_3_norm(x)
        maps.append((self.conv4_3_norm_mbox_conf(y), self.conv4_3_norm_mbox_loc(y)))
        x = _through(F.max_pool2d(x, 2), self.conv5_1, self.conv5_2, self.conv5_3)
        y = self.conv5_3_norm(x)
        maps.append((self.conv5_3_norm_mbox_conf(y), self.conv5_3_norm_mbox_loc(y)))
        x = _through(F.max_pool2d(x, 2), self.fc6, self.fc7)
        maps.append((self.fc7_mbox_conf(x), self.fc7_mbox_loc(x)))
        x = _through(x, self.conv6_1, self.conv6_2)
        maps.append((self.conv6_2_mbox_conf(x), self.conv6_2_mbox_loc(x)))
        x = _through(x, self.conv7_1, self.conv7_2)
        maps.append((self.conv7_2_mbox_conf(x), self.conv7_2_mbox_loc(x)))
        return maps

    def _fine(self, x: Tensor, strip_px: int) -> tuple[Tensor, Tensor, Tensor]:
        """Stages 1 to 3: what stage 4 reads, at 1/8, and the maps of the first head, at 1/4."""
        height, width = x.shape[2:]
        if height * width <= strip_px:
            return self._strip(x)
        step = max(64, strip_px // width // 8 * 8)
        parts: list[list[Tensor]] = []
        for top in range(0, height // 8 * 8, step):
            bottom = height if top + step >= height // 8 * 8 else top + step
            first = max(0, top - _REACH_ROWS)
            made = self._strip(x[:, :, first : min(height, bottom + _REACH_ROWS)])
            kept = (slice((top - first) // stride, (bottom - first) // stride) for stride in (8, 4, 4))
            parts.append([part[:, :, rows] for part, rows in zip(made, kept, strict=True)])
        coarse, logits, offsets = (torch.cat(column, dim=2) for column in zip(*parts, strict=True))
        return coarse, logits, offsets

    def _strip(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.max_pool2d(_through(x, self.conv1_1, self.conv1_2), 2)
        x = F.max_pool2d(_through(x, self.conv2_1, self.conv2_2), 2)
        x = _through(x, self.conv3_1, self.conv3_2, self.conv3_3)
        y = self.conv3_3_norm(x)
        logits = self.conv3_3_norm_mbox_conf(y)
        # three backgrounds compete at the finest level, where false faces are most
        logits = torch.cat((logits[:, :3].amax(dim=1, keepdim=True), logits[:, 3:]), dim=1)
        return F.max_pool2d(x, 2), logits, self.conv3_3_norm_mbox_loc(y)


class _Norm(nn.Module):
    """Features of each pixel scaled to length one, then by channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10
        return (x / length).mul_(self.weight[:, None, None])


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _through(x: Tensor, *convs: nn.Conv2d) -> Tensor:
    for conv in convs:
        x = F.relu(conv(x), inplace=True)
    return x
