"""MuseTalk's box rule, against hand-made points and the original's results."""

import numpy as np
import pytest
from golden_data import golden_sets, load

from musetalk_core.errors import InputError, NoFaceFound
from musetalk_core.faces.musetalk_box import musetalk_box, shift_range
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
    assert musetalk_box(points(left=50, right=50), 200, 50, detected=detected) == Box(30, 30, 60, 50)
    assert musetalk_box(points(left=50, right=50), 200, 200).is_empty


def test_a_face_over_the_left_border_keeps_its_box():
    assert musetalk_box(points(left=-3), 200, 200, detected=Box(30, 30, 60, 70)) == Box(0, 10, 80, 90)


@pytest.mark.parametrize("place", [(-300, 0), (300, 0), (0, 300), (0, -300)])
def test_a_face_outside_the_picture_has_no_box(place):
    box = musetalk_box(points() + np.float32(place), 200, 200, extra_margin=10)

    assert box.is_empty
    assert Box(0, 0, 200, 200).contains(box)


def test_points_are_rounded_down_and_in_parity_towards_zero():
    assert musetalk_box(points(left=20.9), 200, 200).x1 == 20
    low = points(left=-0.4) + np.float32([0, 100])
    assert musetalk_box(low, 300, 300, parity=True, detected=Box(1, 2, 3, 4)).x1 == 0
    assert musetalk_box(low - np.float32([0.7, 0]), 300, 300, parity=True, detected=Box(1, 2, 3, 4)).x1 == 1


def test_parity_leaves_a_box_that_sticks_out_and_its_margin_ends_at_the_picture():
    wide, face = points(bottom=300, right=400), Box(1, 2, 3, 4)

    assert musetalk_box(wide, 200, 240, detected=face, parity=True) == Box(20, 0, 400, 300)
    assert musetalk_box(wide, 200, 240, extra_margin=10, detected=face, parity=True) == Box(20, 0, 400, 240)


def test_points_of_another_kind_are_refused():
    with pytest.raises(InputError, match="68 points"):
        musetalk_box(np.zeros((133, 2), np.float32), 200, 200)


def test_without_a_face_there_is_no_range():
    with pytest.raises(NoFaceFound):
        shift_range(np.zeros((0, 68, 2), np.float32))


def original_boxes(folder, kind):
    vectors = load(folder, "boxes")
    for shift in vectors["shifts"]:
        for number, all_points in enumerate(vectors[f"{kind}_points"]):
            found = (70, 60, 170, 165) if kind == "clip" else vectors["edge_detector_box"][number]
            detected = None if found[0] < 0 else Box(*map(int, found))
            expected = Box(*map(int, vectors[f"{kind}_boxes_shift{shift}"][number]))
            yield number, int(shift), all_points[23:91], detected, expected


@pytest.mark.parametrize("folder", golden_sets())
@pytest.mark.parametrize("kind", ["clip", "edge"])
def test_parity_gives_the_boxes_of_the_original(folder, kind):
    compared = 0
    for _, shift, face, detected, expected in original_boxes(folder, kind):
        assert musetalk_box(face, 256, 240, shift, detected=detected, parity=True) == expected
        compared += 1
    assert compared >= 50


@pytest.mark.parametrize("folder", golden_sets())
def test_parity_gives_the_boxes_of_the_v1_chain(folder):
    vectors = load(folder, "boxes")
    for face, expected in zip(vectors["clip_points"], vectors["clip_boxes_v1_chain"], strict=True):
        box = musetalk_box(face[23:91], 256, 240, -5, detected=Box(70, 60, 170, 165), parity=True)
        assert box == Box(*map(int, expected))


@pytest.mark.parametrize("folder", golden_sets())
@pytest.mark.parametrize("kind", ["clip", "edge"])
@pytest.mark.parametrize("margin", [None, 10])
def test_by_default_they_are_clipped_and_only_the_left_border_differs(folder, kind, margin):
    over_the_left_border = (2, 3, 9) if kind == "edge" else ()
    for number, shift, face, detected, expected in original_boxes(folder, kind):
        box = musetalk_box(face, 256, 240, shift, margin, detected)
        assert Box(0, 0, 256, 240).contains(box)
        if detected is None:
            continue
        if number in over_the_left_border:
            assert box.x1 == 0 or box == detected.clip(256, 240)
            continue
        bottom = expected.y2 if margin is None else min(expected.y2 + margin, 240)
        assert box == Box(expected.x1, expected.y1, expected.x2, bottom).clip(256, 240)


@pytest.mark.parametrize("folder", golden_sets())
def test_the_range_of_shifts_is_that_of_the_original(folder):
    vectors = load(folder, "boxes")
    face_points = vectors["clip_points"][:, 23:91]
    for shift in vectors["shifts"]:
        low, high = shift_range(face_points)
        assert (-low, high) == tuple(vectors[f"clip_range_shift{shift}"])
    low, high = shift_range(face_points[[0, 2]])
    assert (-low, high) == tuple(vectors["range_with_one_missing"])
