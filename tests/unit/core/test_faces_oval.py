"""The mask that says how much of a rendered face shows."""

import numpy as np
import pytest
from golden_data import golden_cases, load

from musetalk_core.faces.boxes import musetalk_box
from musetalk_core.faces.oval import feathered, inside_lower, oval_mask, paste_square
from musetalk_core.faces.topology import CHIN, LANDMARKS_68, LOWER_LIP_INSIDE
from musetalk_core.types import Box


def value(mask, square, point):
    x, y = (round(float(v)) for v in point)
    return int(mask[y - square.y1, x - square.x1])


def test_the_mask_shows_the_mouth_and_hides_eyes_and_background(portrait_mesh):
    box = musetalk_box(portrait_mesh[LANDMARKS_68], 512, 512, extra_margin=10)

    mask, square = oval_mask(portrait_mesh, box)

    assert mask.shape == (square.y2 - square.y1, square.x2 - square.x1)
    assert value(mask, square, portrait_mesh[LOWER_LIP_INSIDE]) == 255
    assert value(mask, square, portrait_mesh[159]) == 0
    assert value(mask, square, portrait_mesh[CHIN] + (0, 8)) < 64
    assert mask[:, 0].max() == mask[0].max() == mask[-1].max() == mask[:, -1].max() == 0
    edge = np.abs(np.diff(mask.astype(int), axis=0)).max()
    assert edge < 70  # feathered, no step


def test_a_live_mask_is_softer(portrait_mesh):
    box = musetalk_box(portrait_mesh[LANDMARKS_68], 512, 512)

    soft, hard = oval_mask(portrait_mesh, box, 0.1)[0], oval_mask(portrait_mesh, box)[0]

    assert ((soft > 0) & (soft < 255)).sum() > 1.5 * ((hard > 0) & (hard < 255)).sum()


def test_a_box_at_the_border_gives_a_square_that_leaves_the_picture(portrait_mesh):
    shifted = portrait_mesh - (170, 60)

    mask, square = oval_mask(shifted, Box(0, 0, 100, 120))

    assert square.x1 < 0
    assert mask.shape == (180, 180)


@pytest.mark.parametrize(("folder", "name"), golden_cases("blend", "*/params"))
def test_square_lower_half_and_blur_are_those_of_the_original(folder, name):
    case = load(folder, "blend")
    box, square = Box(*map(int, case[f"{name}/box"])), Box(*map(int, case[f"{name}/crop_box"]))
    raw = case[f"{name}/mask_before_blur"]

    assert paste_square(box) == square
    np.testing.assert_array_equal(inside_lower(raw, box, square), raw)
    blur = 0.1 if case[f"{name}/params"][5] else 0.05
    np.testing.assert_array_equal(feathered(raw, blur), case[f"{name}/mask"])
