"""Where the border between rendered and source pixels is."""

import numpy as np

from musetalk_core.quality.frame_pair import ChangedRegion
from musetalk_core.types import Box


def test_the_border_of_a_mask_lies_at_its_middle_and_points_outwards():
    mask = np.zeros((80, 100), np.uint8)
    mask[20:60, 30:70] = 255
    region = ChangedRegion.from_mask(mask, Box(10, 5, 110, 85), 200, 200)

    assert len(region.border) > 100
    for sign, inside in ((-3, True), (3, False)):
        x, y = (region.border + sign * region.outward - (10, 5)).round().astype(int).T
        straight = np.abs(region.outward).max(1) > 0.99
        assert (((mask[y, x] == 255) == inside)[straight]).all()


def test_the_border_of_a_box_leaves_out_the_edge_of_the_picture():
    region = ChangedRegion.from_box(Box(-10, 20, 30, 100), 60, 80)

    assert region.box == Box(0, 20, 30, 80)
    sides = {tuple(int(v) for v in normal) for normal in region.outward}
    assert sides == {(0, -1), (1, 0)}
    assert len(region.border) == 30 + 60


def test_a_mask_outside_the_picture_has_no_border():
    region = ChangedRegion.from_mask(np.zeros((10, 10), np.uint8), Box(0, 0, 10, 10), 20, 20)

    assert len(region.border) == 0
