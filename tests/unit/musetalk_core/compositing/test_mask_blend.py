"""Pasting through a mask: only where it is, and as if it covered its whole square."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from musetalk_core.compositing.blending import blend_square, composite
from musetalk_core.compositing.mask_cache import MaskCache
from musetalk_core.compositing.oval_mask import oval_mask
from musetalk_core.engine_protocol import Conditioning
from musetalk_core.engines.constant_engine import FakeEngine
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.rendering.compose import FacePaster
from musetalk_core.types import Box


def paste(mesh, box):
    avatar = SimpleNamespace(
        box=lambda source: box,
        landmarks=lambda source: mesh,
        shots=[0],
        conditioning=Conditioning(np.zeros((1, 2), np.float32)),
    )
    return FacePaster(SimpleNamespace(avatar=avatar), FakeEngine(), MaskCache())


@pytest.mark.parametrize("move", [(0, 0), (-171, -37), (150, 200)])
def test_the_result_is_that_of_the_whole_square(portrait_mesh, move):
    mesh = portrait_mesh + np.float32(move)
    low, high = mesh.min(axis=0), mesh.max(axis=0)
    box = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]) + 10).clip(512, 512)
    random = np.random.default_rng(0)
    picture = Picture.from_bgr(random.integers(0, 256, (512, 512, 3), dtype=np.uint8))
    crop = random.integers(0, 256, (256, 256, 3), dtype=np.uint8)

    out = paste(mesh, box)(picture, 0, crop)

    inside = blend_square(box).clip(512, 512).align_even()
    face = cv2.resize(crop, box.size, interpolation=cv2.INTER_LINEAR)
    before = picture.bgr(inside)
    expected = picture.with_crop(composite(before, inside, face, box, *oval_mask(mesh, box)), before, inside)
    np.testing.assert_array_equal(out.i420, expected.i420)
    assert (out.i420 != picture.i420).any()


def test_a_mask_that_shows_nothing_leaves_the_picture(portrait_mesh):
    picture = Picture.from_bgr(np.full((512, 512, 3), 99, np.uint8))

    out = paste(portrait_mesh, Box(400, 400, 480, 500))(picture, 0, np.zeros((9, 9, 3), np.uint8))

    np.testing.assert_array_equal(out.i420, picture.i420)
