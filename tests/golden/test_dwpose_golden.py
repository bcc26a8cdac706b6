"""The pose net repeats the original's warp, stages, vectors and key points."""

import numpy as np
import pytest
import torch
from golden_data import COMMITTED, golden_cases, golden_sets, load

from musetalk_core.networks.dwpose import WholeBodyPose, face68, padded_view_of, warp_view
from musetalk_core.networks.dwpose_head import MIRRORED_POINTS, decode_peaks, undo_mirroring
from musetalk_core.types import Box

SHARE = 2e-4
"""Tolerance as a share of the largest value."""
CLEAR = 0.02
"""Where the best bin leads by less than this it may be another one."""

everywhere = pytest.mark.parametrize(("folder", "name"), golden_cases("dwpose", "*/image"))


def arrays_of(folder, name):
    return {
        key.removeprefix(f"{name}/"): array for key, array in load(folder, "dwpose").items() if name in key
    }


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=SHARE * np.abs(expected).max())


@pytest.fixture(scope="module")
def stages(pose):
    """View -> what the net makes of it and of its mirror image; both sets have the same views."""
    known = {}

    def run(view):
        key = view.tobytes()
        if key not in known:
            rgb = torch.from_numpy(view.copy()).to(pose._torch_device).permute(2, 0, 1)[None].flip(1).float()
            plain = (rgb - pose._mean) / pose._deviation
            with torch.inference_mode():
                both, head = torch.cat((plain, plain.flip(3))), pose._net.head
                features = pose._net.backbone(both)
                final = head.final_layer(features).flatten(2)
                attended = head.gau(head.mlp(final))
                x, y = head(features)
            known[key] = {
                "input": both.cpu(),
                "features": features.cpu(),
                "final": final.cpu(),
                "attended": attended.cpu(),
                "xy": (x.cpu(), y.cpu()),
            }
        return known[key]

    return run


@pytest.fixture(scope="module")
def points_of(pose):
    """View -> points and scores, found once; the picture only tells the size."""
    known = {}

    def run(image, view):
        key = view.tobytes()
        if key not in known:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("musetalk_core.networks.dwpose.warp_view", lambda *_: view)
                known[key] = pose.points(image)
        return known[key]

    return run


def whole(image):
    return padded_view_of(Box(0, 0, image.shape[1], image.shape[0]))


@pytest.mark.parametrize("folder", golden_sets())
def test_left_and_right_are_the_originals(folder):
    np.testing.assert_array_equal(MIRRORED_POINTS, load(folder, "dwpose")["flip_indices"])


@everywhere
def test_the_warp_is_the_originals_within_what_opencv_5_changed(folder, name):
    case = arrays_of(folder, name)

    found = warp_view(case["image"], *whole(case["image"]))

    differences = np.abs(found.astype(int) - case["warped"])
    assert differences.max() <= 4
    assert (differences > 0).mean() <= 0.09


@everywhere
def test_the_backbone_repeats_the_original(stages, folder, name):
    case = arrays_of(folder, name)
    made = stages(case["warped"])

    np.testing.assert_allclose(made["input"][:1, :, ::4, ::4], case["net_input_s4"], rtol=0, atol=1e-5)
    assert_close(made["features"][:, ::64], case["backbone_c64"])
    assert_close(made["final"][:, ::8], case["final_p8"])


@pytest.mark.parametrize(("folder", "name"), golden_cases("dwpose", "*/gau_p8"))
def test_the_attention_repeats_the_original(stages, folder, name):
    case = arrays_of(folder, name)

    assert_close(stages(case["warped"])["attended"][:, ::8], case["gau_p8"])


@pytest.mark.parametrize(("folder", "name"), golden_cases("dwpose", "*/plain_x_p8"))
def test_the_vectors_are_the_originals_before_and_after_the_flip_test(stages, folder, name):
    case = arrays_of(folder, name)
    x, y = stages(case["warped"])["xy"]
    mirrored_x, mirrored_y = undo_mirroring(x[1:], y[1:])

    assert_close(x[0, ::8], case["plain_x_p8"])
    assert_close(y[0, ::8], case["plain_y_p8"])
    assert_close((x[0, ::4] + mirrored_x[0, ::4]) / 2, case["mean_x_p4"])
    assert_close((y[0, ::4] + mirrored_y[0, ::4]) / 2, case["mean_y_p4"])


@everywhere
def test_key_points_of_a_given_view_are_the_originals(points_of, folder, name):
    case = arrays_of(folder, name)

    points, scores = points_of(case["image"], case["warped"])

    clear = case["top_gap"] > CLEAR
    assert clear.mean() > 0.98
    assert (points.dtype, points.shape, scores.dtype) == (np.float32, (133, 2), np.float32)
    np.testing.assert_array_equal(points[clear], case["keypoints"].astype(np.float32)[clear])
    assert_close(scores, case["scores"])
    sure = face68(clear)
    np.testing.assert_array_equal(face68(points).astype(np.int32)[sure], case["face68_int"][sure])


@everywhere
def test_bins_are_the_originals(stages, folder, name):
    case = arrays_of(folder, name)
    x, y = stages(case["warped"])["xy"]
    mirrored_x, mirrored_y = undo_mirroring(x[1:], y[1:])

    bins, _ = decode_peaks(x[0] + mirrored_x[0], y[0] + mirrored_y[0])

    clear = case["top_gap"] > CLEAR
    np.testing.assert_array_equal(bins.numpy()[clear], case["bins"][clear])


@pytest.mark.parametrize("folder", golden_sets())
def test_vectors_are_decoded_as_in_the_original(folder):
    case = arrays_of(folder, "decode")

    location, score = decode_peaks(torch.from_numpy(case["x"].copy()), torch.from_numpy(case["y"].copy()))

    np.testing.assert_array_equal(location, case["location"])
    np.testing.assert_array_equal(score, case["score"])


def test_the_box_of_the_whole_picture_is_the_whole_picture(pose, device):
    image = load(COMMITTED, "dwpose")["portrait/image"]
    quick = WholeBodyPose(pose._net, device, flip_test=False)

    expected, found = quick.points(image), quick.points(image, Box(0, 0, 90, 150))

    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_without_the_flip_test_the_plain_vectors_count(pose, device):
    case = arrays_of(COMMITTED, "landscape")
    quick = WholeBodyPose(pose._net, device, flip_test=False)

    x, y = (part.cpu() for part in quick._activations(case["warped"]))

    assert_close(x[::8], case["plain_x_p8"])
    assert_close(y[::8], case["plain_y_p8"])
