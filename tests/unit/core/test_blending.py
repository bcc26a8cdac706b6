"""The compositing formula: exact, and it touches nothing it should not."""

import numpy as np
import pytest
from golden_data import golden_cases, golden_frame, load

from musetalk_core.blending import composite
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


@pytest.mark.parametrize(("folder", "name"), golden_cases("blend", "*/params"))
def test_composites_are_those_of_the_original(folder, name):
    case = load(folder, "blend")
    frame = golden_frame(folder, case[f"{name}/params"][0])
    height, width = frame.shape[:2]
    box, square = Box(*map(int, case[f"{name}/box"])), Box(*map(int, case[f"{name}/crop_box"]))

    out = composite(frame, Box(0, 0, width, height), case[f"{name}/face"], box, case[f"{name}/mask"], square)

    np.testing.assert_array_equal(out, frame + case[f"{name}/out_delta"])
