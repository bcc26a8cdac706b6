"""From classes to masks: those of the original, and only as much work as they need."""

from typing import get_args

import numpy as np
import pytest
from golden_data import golden_cases, golden_frame, golden_sets, load

from musetalk_core.compositing.blending import composite
from musetalk_core.engines.musetalk.options import MaskMode
from musetalk_core.engines.musetalk.parsing_mask import MaskStyle, class_mask, mask_from_classes
from musetalk_core.errors import InputError
from musetalk_core.types import Box

MODES = ("raw", "jaw", "neck")  # the numbers of the golden cases


def style(words, **more):
    mode, *cheeks = words.split("_")
    return MaskStyle(mode, *map(int, cheeks), **more)


def classes(seed=0):
    return np.random.default_rng(seed).integers(0, 19, (512, 512), dtype=np.uint8)


def test_there_is_one_list_of_modes_and_others_are_refused():
    assert set(get_args(MaskMode)) == set(MODES)
    masks = {mode: class_mask(classes(), MaskStyle(mode)) for mode in get_args(MaskMode)}
    assert len({mask.tobytes() for mask in masks.values()}) == len(masks)

    with pytest.raises(InputError, match="unknown mask mode 'chin'"):
        MaskStyle("chin")
    smuggled = MaskStyle("raw")
    object.__setattr__(smuggled, "mode", "chin")
    with pytest.raises(InputError, match="unknown mask mode 'chin'"):
        class_mask(classes(), smuggled)


def blend_case(folder, name):
    case = load(folder, "blend")
    frame, mode, left, right, number, live = (int(v) for v in case[f"{name}/params"])
    labels = load(folder, "parsing")[f"label_map{number}"]
    box, square = Box(*map(int, case[f"{name}/box"])), Box(*map(int, case[f"{name}/crop_box"]))
    wanted = MaskStyle(MODES[mode], left, right, 0.1 if live else 0.05)
    return case, frame, labels, box, square, wanted


@pytest.mark.parametrize(("folder", "name"), golden_cases("parsing", "*/mask_raw"))
@pytest.mark.parametrize("words", ["raw", "neck", "jaw_90_90", "jaw_80_80", "jaw_70_110"])
def test_classes_show_as_in_the_original(folder, name, words):
    arrays = load(folder, "parsing")

    mask = class_mask(arrays[name], style(words))

    np.testing.assert_array_equal(mask, 255 * np.unpackbits(arrays[f"{name}/mask_{words}"], axis=1))


@pytest.mark.parametrize("words", ["raw", "neck", "jaw_90_90", "jaw_0_256", "jaw_256_0"])
@pytest.mark.parametrize(
    "window",
    [
        Box(0, 0, 512, 512),
        Box(100, 200, 400, 480),
        Box(0, 0, 1, 1),
        Box(470, 500, 512, 512),
        Box(250, 3, 262, 9),
    ],
)
@pytest.mark.parametrize("folder", golden_sets()[:1])
def test_a_part_of_the_mask_is_that_part_of_the_whole(folder, words, window):
    labels = load(folder, "parsing")["noise_map"]

    part = class_mask(labels, style(words), window)

    np.testing.assert_array_equal(part, class_mask(labels, style(words))[window.slices()])


@pytest.mark.parametrize(("folder", "name"), golden_cases("blend", "*/params"))
def test_masks_are_those_of_the_original_without_their_zeros(folder, name):
    case, _, labels, box, square, wanted = blend_case(folder, name)

    mask, area = mask_from_classes(labels, box, wanted)

    assert square.contains(area)
    whole = np.zeros_like(case[f"{name}/mask"])
    whole[area.y1 - square.y1 : area.y2 - square.y1, area.x1 - square.x1 : area.x2 - square.x1] = mask
    np.testing.assert_array_equal(whole, case[f"{name}/mask"])
    assert mask.size < whole.size / 3


@pytest.mark.parametrize(("folder", "name"), golden_cases("blend", "*/params"))
def test_composites_with_them_are_those_of_the_original(folder, name):
    case, frame_number, labels, box, _, wanted = blend_case(folder, name)
    frame, (mask, area) = golden_frame(folder, frame_number), mask_from_classes(labels, box, wanted)

    out = composite(frame, Box(0, 0, 256, 240), case[f"{name}/face"], box, mask, area)

    np.testing.assert_array_equal(out, frame + case[f"{name}/out_delta"])


@pytest.mark.parametrize("folder", golden_sets())
@pytest.mark.parametrize("version", ["v1", "v15"])
def test_masks_of_a_whole_run_are_those_of_the_original(folder, version):
    chain, more = load(folder, "chain"), load(folder, "chain_more")
    arrays = chain if f"{version}/labels" in chain else more
    for number in (0, 1):
        box = Box(*map(int, chain[f"boxes_{version}"][number]))
        if version == "v15":
            box = Box(box.x1, box.y1, box.x2, min(box.y2 + 10, 240))

        mask, _ = mask_from_classes(
            arrays[f"{version}/labels"][number], box, style("raw" if version == "v1" else "jaw")
        )

        expected = arrays[f"{version}/mask_{number}"]
        rows, columns = np.flatnonzero(expected.any(1)), np.flatnonzero(expected.any(0))
        np.testing.assert_array_equal(mask, expected[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


@pytest.mark.parametrize("box", [Box(10, 10, 10, 40), Box(10, 10, 11, 11), Box(0, 0, 3, 2), Box(0, 0, 0, 0)])
def test_a_box_too_small_for_a_face_is_no_error(box):
    mask, area = mask_from_classes(np.ones((512, 512), np.uint8), box)

    assert mask.shape[::-1] == area.size


def test_a_picture_without_a_face_has_an_empty_mask():
    mask, area = mask_from_classes(np.zeros((512, 512), np.uint8), Box(20, 20, 120, 140))

    assert area.is_empty
    assert mask.size == 0


@pytest.mark.parametrize("size", [100, 682, 684, 1500])
def test_a_mask_of_any_size_is_made_from_the_same_pixels_as_from_the_whole_map(size):
    from PIL import Image

    box = Box(7, 9, 7 + size * 2 // 3, 9 + size * 3 // 4)
    half = size * 3 // 8
    n = int(size * 3 // 4 // 2 * 1.5) * 2
    labels, wanted = classes(), MaskStyle("raw", blur_share=0)

    mask, area = mask_from_classes(labels, box, wanted)

    whole = np.asarray(Image.fromarray(class_mask(labels, wanted)).resize((n, n)))
    x, y = (box.x1 + box.x2) // 2 - n // 2, (box.y1 + box.y2) // 2 - n // 2
    assert abs(area.y1 - (y + n // 2)) <= 1
    assert area.y2 <= box.y2
    assert area.size[1] > half * 0.9
    np.testing.assert_array_equal(mask, whole[area.y1 - y : area.y2 - y, area.x1 - x : area.x2 - x])


@pytest.mark.parametrize(
    "wrong", [{"mode": "chin"}, {"left_cheek": -1}, {"right_cheek": 257}, {"blur_share": float("nan")}]
)
def test_a_style_that_does_not_exist_is_refused(wrong):
    with pytest.raises(InputError):
        MaskStyle(**wrong)


def test_a_map_of_another_size_is_refused():
    with pytest.raises(InputError, match="class map"):
        mask_from_classes(np.zeros((256, 256), np.uint8), Box(0, 0, 100, 100))
