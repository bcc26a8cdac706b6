"""Image classification with EfficientNet-Lite0 and the 1000 classes of ImageNet (tags)."""

from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
import torch

from musetalk_core.errors import ModelNotInstalled
from musetalk_core.installation import setup_command
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.networks.checkpoint import assign_weights, read_tensors
from musetalk_core.types import Float, Image
from musetalk_core.vision.findings import Tag
from musetalk_core.vision.verified_files import verify_bundled

MODEL_NAME: Final = "efficientnet-lite0"
MAX_TAGS: Final = 10
"""Maximum number of tags per image."""
MIN_SCORE: Final = 0.02
"""Least score of a tag."""
_LABELS_PATH: Final = Path(__file__).resolve().parents[1] / "models" / "imagenet_labels.txt"
_RESIZE_SIDE_PX, _CROP_SIDE_PX = 256, 224
_MEAN, _STD = 0.498, 0.502
"""Mean and scale of pixel values (0..1) in training."""


class Tagger:
    """A loaded classifier. Stateless, so threads may share it."""

    def __init__(self, layout: LocalModels) -> None:
        """
        Verify the model's file and load it.

        Raises:
            ModelNotInstalled: a package is missing.
            WeightsInvalid: the file differs from its record in the model registry.
        """
        weights = verify_bundled(layout, MODEL_NAME)["weights"]
        try:
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise ModelNotInstalled(
                f"Tags require the package efficientnet-lite-pytorch ({error}). Run: {setup_command()}",
                model=MODEL_NAME,
            ) from error
        factory: Any = EfficientNet
        with torch.device("meta"):
            net = cast(torch.nn.Module, factory.from_name("efficientnet-lite0"))
        assign_weights(net, read_tensors(weights), weights)
        self._net = net.eval()
        self._labels = _LABELS_PATH.read_text(encoding="utf-8").splitlines()

    def tags(self, bgr: Image) -> list[Tag]:
        """
        Classify the central square of an image.

        Args:
            bgr: (H, W, 3) uint8 BGR.

        Returns:
            At most 10 tags with a score of at least 0.02, highest first.
        """
        with torch.inference_mode():
            logits: Any = self._net(torch.from_numpy(_center_crop(bgr))[None])
            scores = torch.softmax(logits[0].float(), dim=0)
            best = torch.topk(scores, MAX_TAGS)
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [Tag(self._labels[index], float(score)) for index, score in pairs if score >= MIN_SCORE]


def _center_crop(bgr: Image) -> Float:
    """Return the central square, 224/256 of the shorter side, as (3, 224, 224) float32 RGB, normalized."""
    height, width = bgr.shape[:2]
    side = max(1, round(min(height, width) * _CROP_SIDE_PX / _RESIZE_SIDE_PX))
    left, top = (width - side) // 2, (height - side) // 2
    interpolation = cv2.INTER_AREA if side > 2 * _CROP_SIDE_PX else cv2.INTER_CUBIC
    middle = cv2.resize(
        bgr[top : top + side, left : left + side], (_CROP_SIDE_PX, _CROP_SIDE_PX), interpolation=interpolation
    )
    scaled = (middle[..., ::-1].astype(np.float32) / 255 - _MEAN) / _STD
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)
