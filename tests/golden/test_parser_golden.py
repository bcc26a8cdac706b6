"""The face parser repeats the original's input, logits and class maps."""

import numpy as np
import pytest
import torch
from golden_data import golden_frame, golden_sets, load

from musetalk_core.compositing.oval_mask import blend_square
from musetalk_core.networks import bisenet
from musetalk_core.types import Box


def square(folder, frame, box):
    """Crop a frame to a box; pixels outside the frame are black."""
    x1, y1, x2, y2 = (int(v) for v in box)
    picture = golden_frame(folder, frame)
    out = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
    part = Box(x1, y1, x2, y2).clip(picture.shape[1], picture.shape[0])
    out[part.y1 - y1 : part.y2 - y1, part.x1 - x1 : part.x2 - x1] = picture[part.slices()]
    return out


@pytest.fixture(params=golden_sets())
def vectors(request):
    return request.param, load(request.param, "parsing")


@pytest.fixture
def crop(vectors):
    folder, arrays = vectors
    return square(folder, int(arrays["input_frame"]), arrays["input_crop_box"])


def test_the_resized_square_is_the_originals(vectors, crop):
    np.testing.assert_array_equal(bisenet._prepare_square(crop)[::4, ::4], vectors[1]["resized512_s4"])


def test_tensor_and_logits_are_the_originals(parser, vectors, crop):
    with torch.inference_mode():
        pixels = torch.from_numpy(bisenet._prepare_square(crop)[None].copy()).to(parser._torch_device)
        tensor = parser._normalise(pixels)
        tensor, logits = tensor.cpu(), parser._net(tensor).cpu()

    np.testing.assert_allclose(tensor[:, :, ::8, ::8], vectors[1]["tensor_s8"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(logits[:, :, ::8, ::8], vectors[1]["logits_s8"], rtol=0, atol=1e-4)


def test_the_class_map_is_the_originals(parser, vectors, crop):
    arrays = vectors[1]
    (found,) = parser.label_maps([crop])

    near_tie = np.unpackbits(arrays["near_tie"], axis=1).astype(bool)
    differs = found != arrays["argmax"]
    assert found.dtype == np.uint8
    assert not (differs & ~near_tie).any()
    assert differs.mean() <= 1e-3


@pytest.mark.parametrize(
    ("chain", "boxes", "labels", "margin"),
    [("chain", "boxes_v15", "v15/labels", 10), ("chain_more", "boxes_v1", "v1/labels", 0)],
)
@pytest.mark.parametrize("folder", golden_sets())
def test_class_maps_of_the_whole_run_are_the_originals(parser, folder, chain, boxes, labels, margin):
    expected = load(folder, chain)[labels]
    squares = []
    for frame, (x1, y1, x2, y2) in enumerate(load(folder, "chain")[boxes][: len(expected)]):
        crop_box = blend_square(Box(int(x1), int(y1), int(x2), min(int(y2) + margin, 240)))
        squares.append(square(folder, frame, (crop_box.x1, crop_box.y1, crop_box.x2, crop_box.y2)))

    found = np.stack(parser.label_maps(squares))

    assert (found != expected).mean() <= 1e-3
