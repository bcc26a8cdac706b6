"""MuseTalk's box rule, against hand-made points and the original's results."""

import numpy as np
import pytest
from golden_data import golden_sets, load

from musetalk_core.faces.boxes import musetalk_box
from musetalk_core.types import Box


def points(nose_y=50.0, bottom=90.0, left=20.0, right=80.0):
    out = np.full((68, 2), (50.0, 60.0), np.float32)
    out[29] = 50, nose_y
    out[8] = 50, bottom
    out[0, 0], out[16, 0] = left, right
    return out


def test_the_box_reaches_as_far_above_the_nose_as_below():
    assert musetalk_box(points(), 200, 200) == Box(20, 10, 80, 90)


def test_a_shift_moves_the_middle_and_keeps_the_bottom():
    assert musetalk_box(points(), 200, 200, bbox_shift=5) == Box(20, 20, 80, 90)


def test_a_margin_is_added_below_but_not_beyond_the_picture():
    assert musetalk_box(points(), 200, 200, extra_margin=10) == Box(20, 10, 80, 100)
    assert musetalk_box(points(), 200, 95, extra_margin=10) == Box(20, 10, 80, 95)


def test_a_box_beyond_the_picture_is_clipped():
    assert musetalk_box(points(bottom=300, right=400), 200, 240) == Box(20, 0, 200, 240)


def test_the_detector_steps_in_where_the_points_give_no_box():
    detected = Box(30, 30, 60, 70)

    assert musetalk_box(points(left=50, right=50), 200, 200, detected=detected) == detected
    assert musetalk_box(points(left=-3), 200, 200, detected=detected) == detected
    assert musetalk_box(points(left=-3), 200, 200) == Box(0, 10, 80, 90)


@pytest.mark.parametrize("folder", golden_sets())
@pytest.mark.parametrize("kind", ["clip", "edge"])
@pytest.mark.parametrize("margin", [0, 10])
def test_boxes_are_those_of_the_original_clipped(folder, kind, margin):
    vectors = load(folder, "boxes")
    compared = 0
    for shift in vectors["shifts"]:
        for number, (all_points, expected) in enumerate(
            zip(vectors[f"{kind}_points"], vectors[f"{kind}_boxes_shift{shift}"], strict=True)
        ):
            found = (70, 60, 170, 165) if kind == "clip" else vectors["edge_detector_box"][number]
            if found[0] < 0:
                continue  # no face, no box
            x1, y1, x2, y2 = (int(v) for v in expected)
            wanted = Box(x1, y1, x2, min(y2 + margin, 240)).clipped(256, 240)
            box = musetalk_box(all_points[23:91], 256, 240, int(shift), margin, Box(*map(int, found)))
            assert box == wanted
            compared += 1
    assert compared >= 45
