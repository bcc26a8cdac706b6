"""Stub faces and precomputed face boxes that both sides of the pipeline benchmark render."""

import json
from functools import lru_cache

import numpy as np


@lru_cache(maxsize=8)
def _test_image(phase):
    yy, xx = np.mgrid[0:256, 0:256]
    return np.stack([(xx + 32 * phase) % 256, yy, (xx + yy) // 2], axis=-1).astype(np.uint8)


def stub_face(number):
    """Return a (256, 256, 3) uint8 BGR test image; 8 different ones."""
    return _test_image(number % 8)


def load_boxes(video, frames):
    """Return the boxes (x1, y1, x2, y2) of all frames that `pipeline_this_project.py prepare` wrote."""
    return json.loads(video.with_suffix(".boxes.json").read_text())[:frames]
