"""The source's own mouth leaves no trace: no dark corner, no tooth, no flat lip; and it becomes neutral."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from drawn_face import CLOSED, LIPS, SILENT, SKIN, face, knowledge, portrait, speak

from musetalk_core.engines.viseme.closed_source import close_source
from musetalk_core.engines.viseme.grain import grain_tile, measure_grain
from musetalk_core.engines.viseme.mouth import measure_mouth
from musetalk_core.engines.viseme.target_shape import MouthParameters, compute_target_shape
from musetalk_core.faces import mesh_topology

DARK = (25, 22, 40)


def row(one):
    return knowledge(one).frame_features[0]


def with_dark_corners(height=200.0):
    """An open mouth that is dark up to and beyond the corners of the mesh."""
    one = face(0.06, height=height)
    crop = one.crop.copy()
    mesh = one.landmarks - np.float32([one.box.x1, one.box.y1])
    for corner, side in ((mesh[61], -1), (mesh[291], 1)):
        wedge = np.float32(
            [[0, -0.012], [side * 0.02, 0], [0, 0.012], [-side * 0.03, 0.01], [-side * 0.03, -0.01]]
        )
        cv2.fillPoly(crop, [np.round(corner + wedge * height).astype(np.int32)], DARK, cv2.LINE_AA)
    return replace(one, crop=crop)


@pytest.mark.parametrize("height", [120.0, 200.0, 300.0])
@pytest.mark.parametrize("asked", [SILENT, CLOSED])
def test_dark_corners_of_an_open_mouth_do_not_stay_beside_a_closed_one(height, asked):
    one = with_dark_corners(height)
    assert (one.crop.max(axis=2) < 70).sum() > 20

    (out,) = speak(one, asked)

    assert (out.max(axis=2) < 70).sum() == 0


def test_pixels_away_from_the_lips_keep_their_levels():
    one = face(0.06)

    closed = close_source(one, row(one).tobytes())

    mesh = one.landmarks - np.float32([one.box.x1, one.box.y1])
    far = np.ones(one.crop.shape[:2], np.uint8)
    lips = np.concatenate([mesh[mesh_topology.UPPER_LIP_OUTER], mesh[mesh_topology.LOWER_LIP_OUTER][::-1]])
    cv2.fillPoly(far, [np.round(lips).astype(np.int32)], 0)
    far = cv2.erode(far, np.ones((61, 61), np.uint8), borderValue=1) > 0
    assert far.mean() > 0.3
    np.testing.assert_array_equal(closed[far], one.crop[far])


def test_a_closed_mouth_keeps_all_its_levels():
    one = face(0.0)

    np.testing.assert_array_equal(close_source(one, row(one).tobytes()), one.crop)


def test_the_opening_gets_the_color_of_the_lips():
    one = face(0.06)

    closed = close_source(one, row(one).tobytes())

    mesh = one.landmarks - np.float32([one.box.x1, one.box.y1])
    x, y = np.round(mesh[[13, 14]].mean(axis=0)).astype(int)
    np.testing.assert_allclose(closed[y - 2 : y + 3, x - 20 : x + 20].mean(axis=(0, 1)), LIPS, atol=20)


def smiling():
    """A face whose corners of the mouth are raised and 30 % farther apart."""
    one = face(0.05)
    points = one.landmarks.copy()
    middle = points[[61, 291]].mean(axis=0)
    lips = sorted(
        {
            *mesh_topology.UPPER_LIP_OUTER.tolist(),
            *mesh_topology.LOWER_LIP_OUTER.tolist(),
            *mesh_topology.UPPER_LIP_INNER.tolist(),
            *mesh_topology.LOWER_LIP_INNER.tolist(),
        }
    )
    across = (points[lips, 0] - middle[0]) / 24
    points[lips, 0] = middle[0] + 1.3 * (points[lips, 0] - middle[0])
    points[lips, 1] -= 9 * across**2
    picture = portrait(points)
    box = one.box
    return replace(one, landmarks=points, crop=np.ascontiguousarray(picture[box.slices()]))


def test_a_smile_becomes_narrower_and_straighter_before_it_speaks():
    one = smiling()
    mouth = measure_mouth(one, row(one))
    assert mouth.smile_strength > 0.9
    assert mouth.neutral_width < 0.95

    shape = compute_target_shape(mouth, MouthParameters(0, 0, 1))

    width = float(np.ptp(shape.upper[:, 0])) / float(np.ptp(mouth.seam[:, 0]))
    raised = shape.upper[5, 1] - shape.upper[[0, 10], 1].mean()
    assert width < 0.96
    assert raised < 0.5 * mouth.smile
    straight = compute_target_shape(measure_mouth(face(0.0), row(face(0.0))), MouthParameters(0, 0, 1))
    assert np.ptp(straight.upper[:, 0]) == pytest.approx(0.24, abs=0.005), "a relaxed mouth keeps its width"


def checkerboard(levels, one):
    """Return the amplitude of single-pixel detail at the edge of the lower lip."""
    x, y = np.round(one.landmarks[17] - np.float32([one.box.x1, one.box.y1])).astype(int)
    part = levels[y - 4 : y + 4, x - 20 : x + 20].mean(axis=2)
    rows, columns = np.indices(part.shape)
    return abs(float((part * (-1.0) ** (rows + columns)).mean()))


def test_sharpening_leaves_noise_and_remains_of_a_compression_alone():
    one = face(0.06)
    rows, columns = np.indices(one.crop.shape[:2])
    noise = (6 * (-1) ** (rows + columns))[..., None]
    noisy = replace(one, crop=np.clip(one.crop.astype(int) + noise, 0, 255).astype(np.uint8))

    closed = close_source(noisy, row(noisy).tobytes())

    assert checkerboard(closed, one) < 1.15 * checkerboard(noisy.crop.astype(float), one)


def lip_offsets(one, parameters):
    shape = compute_target_shape(measure_mouth(one, row(one)), parameters)
    return shape.control_offsets[5, 1], shape.control_offsets[66, 1]


def test_lips_of_an_open_source_are_pressed_in_pauses_as_well():
    """An upper and a lower lip that only touch look open on an enlarged smile."""
    touching, pressed = MouthParameters(0, 0, 0), MouthParameters(0, 0, 1)
    assert lip_offsets(face(0.0), touching) == (0, 0), "a closed mouth keeps its lips"

    upper, lower = lip_offsets(face(0.06), touching)
    pressed_upper, pressed_lower = lip_offsets(face(0.06), pressed)

    assert upper == pytest.approx(pressed_upper, abs=0.0015)
    assert lower == pytest.approx(pressed_lower, abs=0.0015)


def test_cheeks_follow_the_corners_of_the_mouth():
    one = smiling()
    shape = compute_target_shape(measure_mouth(one, row(one)), MouthParameters(0.2, -1, 0))
    corners = shape.control_offsets[[0, 10], 0]
    moved = np.abs(shape.control_offsets[25:61, 0])

    assert corners[0] > 0.02 > -0.02 > corners[1]
    assert 0.6 * np.abs(corners).min() < moved.max() < np.abs(corners).max()


def test_grain_is_measured_and_drawn():
    random = np.random.default_rng(0)
    smooth = np.full((80, 80, 3), SKIN, np.float32)
    places = np.float32([[40, 40]])
    for sigma in (1.0, 4.0):
        noisy = np.clip(smooth + random.normal(0, sigma, (80, 80, 1)), 0, 255).round().astype(np.uint8)
        assert measure_grain(noisy, places, 20) == pytest.approx(sigma, rel=0.25)
    assert measure_grain(smooth.astype(np.uint8), places, 20) == 0
    assert measure_grain(np.zeros((0, 0, 3), np.uint8), places, 20) == 0

    tile = grain_tile(3.0, 7, 40, 30)
    assert tile.shape == (30, 40)
    assert tile.std() == pytest.approx(3, rel=0.15)
    np.testing.assert_array_equal(tile, grain_tile(3.0, 7, 40, 30))
    assert (tile != grain_tile(3.0, 8, 40, 30)).any()
    assert grain_tile(1.0, 200, 700, 600).shape == (600, 700)
