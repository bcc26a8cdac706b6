"""
DWPose whole-body pose estimation: 133 key points, 68 of them on the face, from a picture or a box in it.

The student network of the DWPose paper, an RTMPose-l at 288x384, with the pre- and postprocessing of mmpose
1.1.
"""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from musetalk_core.errors import InputError
from musetalk_core.networks.convnet import load_net
from musetalk_core.networks.dwpose_backbone import CSPNeXt
from musetalk_core.networks.dwpose_head import SimccHead, decode_peaks, undo_mirroring
from musetalk_core.runtime.device import Device
from musetalk_core.types import Box, Float, Image

INPUT_WIDTH: Final = 288
INPUT_HEIGHT: Final = 384
FACE: Final = slice(23, 91)
"""Indices of the face key points, in the order of iBUG-68."""

_BOX_SCALE: Final = 1.25
_ASPECT: Final = INPUT_WIDTH / INPUT_HEIGHT
_BINS_PER_PX: Final = 2.0
_MEAN: Final = (123.675, 116.28, 103.53)
_STD: Final = (58.395, 57.12, 57.375)

Points = Float
"""(133, 2) float32 key points x, y in pixels of the picture; may lie outside the picture."""


class RTMPose(nn.Module):
    """RTMPose-l: (B, 3, 384, 288) float32 RGB, normalized -> (B, 133, 576), (B, 133, 768) over x and y."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = CSPNeXt()
        self.head = SimccHead()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, 133, 576) and (B, 133, 768) activations of (B, 3, 384, 288) float32 normalized RGB."""
        return self.head(self.backbone(x))


class WholeBodyPose:
    """A pose estimator for one person."""

    def __init__(self, net: RTMPose, device: Device, flip_test: bool = True) -> None:
        """
        Wrap a loaded network.

        Args:
            net:       in eval mode, on the device.
            device:    the device of `net`.
            flip_test: average the activations with those of the mirrored picture, as the original does. False
                takes half the time.
        """
        self._net = net
        self._torch_device = device.torch_device
        self._flip_test = flip_test
        self._mean, self._deviation = (
            torch.tensor(values, device=device.torch_device).view(1, 3, 1, 1) for values in (_MEAN, _STD)
        )

    def points(self, image: Image, box: Box | None = None) -> tuple[Points, Float]:
        """
        Return the key points of the person in a picture.

        Args:
            image: (H, W, 3) uint8 BGR.
            box:   around the person; enlarged by 25 % in width and height, as in mmpose. None = the whole
                picture, as in the original MuseTalk.

        Returns:
            (133, 2) float32 pixels and (133,) float32 scores, which are activations, not probabilities.

        Raises:
            InputError: the box is empty.
        """
        height, width = image.shape[:2]
        centre, size = padded_view_of(box or Box(0, 0, width, height))
        view_points, scores = self.view_points(warp_view(image, centre, size))
        scaled = view_points / (INPUT_WIDTH, INPUT_HEIGHT) * size + centre - size / 2
        return scaled.astype(np.float32), scores

    def view_points(self, view: Image) -> tuple[npt.NDArray[np.float64], Float]:
        """
        Return the key points in a network input.

        Args:
            view: (384, 288, 3) uint8 BGR.

        Returns:
            (133, 2) float64 pixels of the view and (133,) float32 scores.
        """
        with torch.inference_mode():
            bins, scores = decode_peaks(*self._activations(view))
            return bins.cpu().numpy() / _BINS_PER_PX, scores.cpu().numpy()

    def _activations(self, view: Image) -> tuple[Tensor, Tensor]:
        """Return (133, 576), (133, 768) activations of a view; `flip_test` averages both orientations."""
        pixels = torch.from_numpy(view.copy()).to(self._torch_device).permute(2, 0, 1)[None].flip(1).float()
        plain = (pixels - self._mean) / self._deviation
        if not self._flip_test:
            x, y = self._net(plain)
            return x[0], y[0]
        x, y = self._net(torch.cat((plain, plain.flip(3))))
        mirrored_x, mirrored_y = undo_mirroring(x[1:], y[1:])
        return (x[0] + mirrored_x[0]) * 0.5, (y[0] + mirrored_y[0]) * 0.5


def load_pose(path: Path, device: Device, flip_test: bool = True) -> WholeBodyPose:
    """
    Load DWPose from `dw-ll_ucoco_384.pth`. The network always runs in float32.

    Raises:
        ModelNotInstalled: the file is missing.
        WeightsInvalid: the file is damaged or belongs to another network.
    """
    return WholeBodyPose(load_net(RTMPose, path, device), device, flip_test)


def face68(points: Points) -> Float:
    """Return the (68, 2) face points, in the order of iBUG-68."""
    return points[FACE]


def padded_view_of(box: Box) -> tuple[Float, Float]:
    """Return center and size (w, h) of a box, enlarged by 25 % and to the input's aspect ratio."""
    if box.is_empty:
        raise InputError("the box for pose estimation is empty", box=(box.x1, box.y1, box.x2, box.y2))
    centre = np.array(((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2), np.float32)
    width, height = (side * _BOX_SCALE for side in box.size)
    if width > height * _ASPECT:
        height = width / _ASPECT
    else:
        width = height * _ASPECT
    return centre, np.array((width, height), np.float32)


def warp_view(image: Image, centre: Float, size: Float) -> Image:
    """Return the view with a center and size as (384, 288, 3) uint8 BGR, black outside the picture."""
    half = size[0] / 2
    source = np.array((centre, centre - (0, half), centre - (half, half)), np.float32)
    x, y = INPUT_WIDTH / 2, INPUT_HEIGHT / 2
    target = np.array(((x, y), (x, y - x), (0, y - x)), np.float32)
    matrix = cv2.getAffineTransform(source, target)
    view = cv2.warpAffine(image, matrix, (INPUT_WIDTH, INPUT_HEIGHT), flags=cv2.INTER_LINEAR)
    return np.asarray(view, np.uint8)
