"""The mask that says how much of a rendered face shows."""

import numpy as np

from musetalk_core.compositing.blending import blend_square
from musetalk_core.compositing.oval_mask import oval_mask
from musetalk_core.faces.mesh_topology import CHIN, LANDMARKS_68, LOWER_LIP_INSIDE
from musetalk_core.faces.musetalk_box import musetalk_box
from musetalk_core.types import Box


def value(mask, area, point):
    x, y = (round(float(v)) for v in point)
    inside = area.x1 <= x < area.x2 and area.y1 <= y < area.y2
    return int(mask[y - area.y1, x - area.x1]) if inside else 0


def test_the_mask_shows_the_mouth_and_hides_eyes_and_background(portrait_mesh):
    box = musetalk_box(portrait_mesh[LANDMARKS_68], 512, 512, extra_margin=10)

    mask, area = oval_mask(portrait_mesh, box)

    assert mask.shape[::-1] == area.size
    assert blend_square(box).contains(area)
    assert value(mask, area, portrait_mesh[LOWER_LIP_INSIDE]) == 255
    assert value(mask, area, portrait_mesh[159]) == 0
    assert value(mask, area, portrait_mesh[CHIN] + (0, 8)) < 64
    edge = np.abs(np.diff(np.pad(mask.astype(int), 1), axis=0)).max()
    assert edge < 70  # feathered, no step


def test_a_live_mask_is_softer(portrait_mesh):
    box = musetalk_box(portrait_mesh[LANDMARKS_68], 512, 512)

    soft, hard = oval_mask(portrait_mesh, box, 0.1)[0], oval_mask(portrait_mesh, box)[0]

    assert ((soft > 0) & (soft < 255)).sum() > 1.5 * ((hard > 0) & (hard < 255)).sum()


def test_a_box_over_the_border_gives_a_mask_that_leaves_the_picture(portrait_mesh):
    shifted = portrait_mesh - (200, 60)

    mask, area = oval_mask(shifted, Box(-25, 0, 75, 120))

    assert area.x1 < 0
    assert area.size == mask.shape[::-1]
