"""The face detector repeats the original's maps, boxes and results."""

import numpy as np
import pytest
import torch
from golden_data import COMMITTED, golden_sets, load

from musetalk_core.networks.s3fd import FaceDetector, candidate_boxes, suppress_overlaps


@pytest.fixture(params=golden_sets())
def vectors(request):
    return load(request.param, "s3fd")


def test_raw_maps_are_the_originals(detector, vectors):
    maps = [array.cpu() for pair in detector._head_maps(vectors["image"]) for array in pair]

    assert len(maps) == 12
    for index, found in enumerate(maps):
        np.testing.assert_allclose(found, vectors[f"out{index}"], rtol=0, atol=1e-4)


def test_candidates_and_their_suppression_are_the_originals(vectors):
    maps = [torch.from_numpy(vectors[f"out{index}"].copy()) for index in range(12)]

    found = candidate_boxes(list(zip(maps[::2], maps[1::2], strict=True)), 0.05)
    kept = suppress_overlaps(found)[: len(vectors["after_nms"])]

    assert len(found) == vectors["n_candidates"]
    np.testing.assert_allclose(kept, vectors["after_nms"], rtol=0, atol=1e-2)


def test_faces_are_the_originals(detector, vectors):
    found = detector.detect(vectors["image"])

    rows = np.stack([np.append(face.box, face.score) for face in found])
    np.testing.assert_allclose(rows, vectors["above_half"], rtol=0, atol=1e-2)


@pytest.mark.parametrize("kind", ["", "_mirror", "_half_brightness", "_flat120"])
def test_the_box_taken_is_the_originals(detector, vectors, kind):
    image = {
        "": vectors["image"],
        "_mirror": vectors["image"][:, ::-1],
        "_half_brightness": vectors["image"] // 2,
        "_flat120": np.full_like(vectors["image"], 120),
    }[kind]

    box = detector.first_box(image)

    found = (-1, -1, -1, -1) if box is None else (box.x1, box.y1, box.x2, box.y2)
    np.testing.assert_array_equal(found, vectors[f"result{kind}"])


@pytest.mark.parametrize("strip_px", [1, 100 * 160])
def test_strips_give_what_the_whole_picture_gives(detector, device, strip_px):
    image = np.tile(load(COMMITTED, "s3fd")["image"], (2, 1, 1))[
        :227, :150
    ]  # neither side a multiple of anything
    pixels = torch.from_numpy(image.copy()).to(device.torch_device).permute(2, 0, 1)[None].float() - 110

    with torch.inference_mode():
        whole, strips = detector._net(pixels, 1 << 40), detector._net(pixels, strip_px)

    for first, second in zip(whole, strips, strict=True):
        for one, other in zip(first, second, strict=True):
            np.testing.assert_allclose(other.cpu(), one.cpu(), rtol=0, atol=2e-4)


def test_a_scaled_picture_gives_boxes_of_the_picture(detector, device):
    image = load(COMMITTED, "s3fd")["image"]
    large = image.repeat(3, axis=0).repeat(3, axis=1)
    scaling = FaceDetector(detector._net, device, max_side=160)

    found, expected = scaling.detect(large), detector.detect(image)

    assert len(found) == len(expected)
    np.testing.assert_allclose(found[0].box, expected[0].box * 3, rtol=0, atol=1e-2)


@pytest.mark.parametrize("shape", [(20, 500, 3), (31, 31, 3), (1, 1, 3)])
def test_no_face_is_found_in_a_sliver(detector, shape):
    assert detector.detect(np.zeros(shape, np.uint8)) == []
