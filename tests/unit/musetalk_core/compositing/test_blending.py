"""Where, how softly and by which formula a face is put over its frame."""

import cv2
import numpy as np
import pytest
from golden_data import golden_cases, golden_frame, load

from musetalk_core.compositing.blending import blend_square, composite, feather, lower_half
from musetalk_core.errors import InputError
from musetalk_core.types import Box

WHOLE, FACE, SQUARE = Box(0, 0, 20, 16), Box(6, 4, 14, 12), Box(2, 0, 18, 16)


def picture(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_full_mask_shows_the_face_and_an_empty_one_the_frame():
    frame, face = picture(20, 16), picture(8, 8, 1)

    full = composite(frame, WHOLE, face, FACE, np.full((16, 16), 255, np.uint8), SQUARE)
    empty = composite(frame, WHOLE, face, FACE, np.zeros((16, 16), np.uint8), SQUARE)

    np.testing.assert_array_equal(full[FACE.slices()], face)
    np.testing.assert_array_equal(empty, frame)


def test_pixels_outside_the_face_are_untouched_and_inputs_stay_as_they_are():
    frame, face, mask = picture(20, 16), picture(8, 8, 1), np.full((16, 16), 200, np.uint8)
    before = frame.copy(), face.copy(), mask.copy()

    out = composite(frame, WHOLE, face, FACE, mask, SQUARE)

    out[FACE.slices()] = frame[FACE.slices()]
    np.testing.assert_array_equal(out, frame)
    for now, then in zip((frame, face, mask), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_every_level_and_weight_rounds_to_the_nearest():
    levels, weights = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    box = Box(0, 0, 256, 256)
    frame = np.repeat(levels[..., None], 3, -1)
    face = np.repeat(levels[:, ::-1, None], 3, -1)

    out = composite(frame, box, face, box, weights, box)[..., 0]

    exact = (frame[..., 0] * (255.0 - weights) + face[..., 0] * weights.astype(float)) / 255
    np.testing.assert_array_equal(out, np.floor(exact + 0.5).astype(np.uint8))


def test_a_part_of_a_frame_gives_that_part_of_the_result():
    frame, face, mask = picture(20, 16), picture(8, 8, 1), picture(16, 16, 2)[..., 0]
    part = Box(4, 2, 11, 9)

    whole = composite(frame, WHOLE, face, FACE, mask, SQUARE)
    out = composite(frame[part.slices()], part, face, FACE, mask, SQUARE)

    np.testing.assert_array_equal(out, whole[part.slices()])


def test_a_face_elsewhere_changes_nothing():
    frame = picture(20, 16)
    far = Box(40, 40, 48, 48)

    out = composite(frame, WHOLE, picture(8, 8), far, np.full((16, 16), 255, np.uint8), SQUARE)

    np.testing.assert_array_equal(out, frame)


def test_an_array_of_another_size_than_its_box_is_refused():
    with pytest.raises(InputError, match="does not fit its box"):
        composite(picture(20, 16), WHOLE, picture(9, 8), FACE, np.zeros((16, 16), np.uint8), SQUARE)


def whole(mask, area, square):
    out = np.zeros(square.size[::-1], np.uint8)
    x, y = area.x1 - square.x1, area.y1 - square.y1
    out[y : y + area.size[1], x : x + area.size[0]] = mask
    return out


def test_only_the_lower_half_of_the_square_is_visible():
    box = Box(10, 20, 50, 80)
    square = blend_square(box)

    assert square == Box(-15, 5, 75, 95)
    assert lower_half(box, square) == Box(10, 50, 50, 80)


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (0, 9), (3, 3)])
def test_a_tiny_box_has_a_square_and_a_part_that_fit(size):
    box = Box(5, 5, 5 + size[0], 5 + size[1])
    part = lower_half(box, blend_square(box))

    assert part.x1 <= part.x2
    assert part.y1 <= part.y2


@pytest.mark.parametrize("share", [0, 0.05, 0.1, 0.4])
@pytest.mark.parametrize(
    "area", [Box(0, 0, 60, 60), Box(0, 30, 9, 60), Box(25, 30, 26, 31), Box(50, 2, 60, 40)]
)
def test_softening_a_part_is_softening_the_square(share, area):
    square = Box(-7, 3, 53, 63)
    area = Box(area.x1 - 7, area.y1 + 3, area.x2 - 7, area.y2 + 3)
    hard = 255 * np.random.default_rng(0).integers(0, 2, area.size[::-1], dtype=np.uint8)
    hard[0, 0] = 255

    soft, place = feather(hard, area, square, share)

    size = int(share * 60 // 2 * 2) + 1
    expected = cv2.GaussianBlur(whole(hard, area, square), (size, size), 0)
    np.testing.assert_array_equal(whole(soft, place, square), expected)
    assert all(edge.any() for edge in (soft[0], soft[-1], soft[:, 0], soft[:, -1]))


def test_a_mask_that_shows_nothing_is_empty_and_changes_nothing():
    frame, mask = picture(20, 16), np.zeros((4, 8), np.uint8)

    soft, place = feather(mask, Box(6, 8, 14, 12), SQUARE)

    assert place.is_empty
    np.testing.assert_array_equal(composite(frame, WHOLE, picture(8, 8, 1), FACE, soft, place), frame)


@pytest.mark.parametrize(("folder", "name"), golden_cases("blend", "*/params"))
def test_square_visible_part_and_blur_are_those_of_the_original(folder, name):
    case = load(folder, "blend")
    box, square = Box(*map(int, case[f"{name}/box"])), Box(*map(int, case[f"{name}/crop_box"]))
    raw = case[f"{name}/mask_before_blur"]
    part = lower_half(box, square)
    inside = np.ascontiguousarray(
        raw[part.y1 - square.y1 : part.y2 - square.y1, part.x1 - square.x1 : part.x2 - square.x1]
    )

    soft = feather(inside, part, square, 0.1 if case[f"{name}/params"][5] else 0.05)

    assert blend_square(box) == square
    np.testing.assert_array_equal(whole(inside, part, square), raw)
    np.testing.assert_array_equal(whole(*soft, square), case[f"{name}/mask"])


@pytest.mark.parametrize(("folder", "name"), golden_cases("blend", "*/params"))
def test_composites_are_those_of_the_original(folder, name):
    case = load(folder, "blend")
    frame = golden_frame(folder, int(case[f"{name}/params"][0]))
    box, square = Box(*map(int, case[f"{name}/box"])), Box(*map(int, case[f"{name}/crop_box"]))

    out = composite(frame, Box(0, 0, 256, 240), case[f"{name}/face"], box, case[f"{name}/mask"], square)

    np.testing.assert_array_equal(out, frame + case[f"{name}/out_delta"])
