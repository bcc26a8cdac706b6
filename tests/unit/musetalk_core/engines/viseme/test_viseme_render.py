from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from drawn_face import (
    CLOSED,
    ENGINE,
    LIPS,
    ROUND,
    SILENT,
    SKIN,
    WIDE,
    face,
    features,
    knowledge,
    mesh,
    speak,
)

from musetalk_core.engines.viseme import frame_record
from musetalk_core.engines.viseme.frame_record import measure_frame
from musetalk_core.errors import EngineError
from musetalk_core.faces import mesh_topology
from musetalk_core.types import Box


def teeth_pixels(crop):
    """Pixels as colourless and as bright as painted teeth."""
    return int(((crop.min(axis=2) > 150) & (crop.max(axis=2) - crop.min(axis=2) < 45)).sum())


def dark_pixels(crop):
    return int((crop.max(axis=2) < 75).sum())


@pytest.mark.parametrize("gap", [0.0, 0.06])
@pytest.mark.parametrize("height", [60.0, 200.0])
@pytest.mark.parametrize("row", [SILENT, WIDE, ROUND, CLOSED])
def test_the_rim_the_nose_and_all_above_the_cheeks_keep_their_bytes(gap, height, row):
    one = face(gap, height=height)

    (out,) = speak(one, row)

    x, y = (int(v) for v in one.landmarks[2] - np.float32([one.box.x1, one.box.y1]))
    wing, cheek = int(0.06 * height), y - int(0.14 * height)
    nose = np.s_[:y, x - wing : x + wing]
    for part in (nose, np.s_[:cheek], np.s_[-1:], np.s_[:, :1], np.s_[:, -1:]):
        np.testing.assert_array_equal(out[part], one.crop[part])


def test_a_face_turned_in_the_picture_keeps_its_rim_and_its_eyes():
    one = face(0.05, roll=0.6)

    (out,) = speak(one, WIDE)

    assert (out != one.crop).any()
    ring = np.ones(out.shape[:2], bool)
    ring[1:-1, 1:-1] = False
    np.testing.assert_array_equal(out[ring], one.crop[ring])
    rows, columns = np.indices(out.shape[:2])
    places = np.stack([columns + one.box.x1, rows + one.box.y1], -1) - one.landmarks[2]
    above = places @ np.array([-np.sin(0.6), np.cos(0.6)]) < -0.14 * 200
    np.testing.assert_array_equal(out[above], one.crop[above])


@pytest.mark.parametrize("height", [90.0, 200.0, 300.0])
@pytest.mark.parametrize("row", [SILENT, CLOSED])
def test_an_open_smile_shuts_completely_in_silence_and_on_closure(height, row):
    one = face(0.06, height=height, size=(600, 620), centre=(300, 310))
    assert teeth_pixels(one.crop) > 0.004 * height**2

    (out,) = speak(one, row)

    assert teeth_pixels(out) == 0


def test_no_speck_of_teeth_is_left_between_shut_lips():
    for height in np.arange(150.0, 300.0, 10):
        one = face(0.06, height=height, size=(600, 620), centre=(300, 310))

        (out,) = speak(one, SILENT)

        x, y = 300 - one.box.x1, round(310 + 0.0015 * height) - one.box.y1
        reach, thick = int(0.07 * height), int(0.025 * height)
        lips = out[y - thick : y + thick, x - reach : x + reach]
        assert lips[..., 0].max() < 95  # blue: lips 70, teeth 225


def test_a_shut_mouth_opens_wider_for_a_wider_vowel():
    one = face(0.0)

    darkness = [dark_pixels(crop) for crop in speak(one, (0, 0, 0), (0.2, 0, 0), (0.5, 0, 0), (0.9, 0, 0))]

    assert darkness[0] == 0
    assert darkness == sorted(darkness)
    assert darkness[-1] > 3 * darkness[1] > 0


def test_a_rounded_mouth_is_narrower():
    one = face(0.0)

    spread, rounded = (
        np.flatnonzero((crop.max(axis=2) < 75).any(axis=0)) for crop in speak(one, (0.5, 1, 0), (0.5, -1, 0))
    )

    assert np.ptp(rounded) < 0.85 * np.ptp(spread)


def test_the_chin_follows_a_falling_jaw():
    one = face(0.0)
    picture = one.crop.copy()
    chin = int(one.landmarks[152, 1]) - one.box.y1
    picture[chin - 2 : chin + 2, 60:-60] = 0
    marked = replace(one, crop=picture)

    shut, wide = speak(marked, SILENT, WIDE)

    middle = picture.shape[1] // 2
    low = [
        np.flatnonzero(crop[chin - 8 : chin + 20, middle].max(axis=1) < 90).mean() for crop in (shut, wide)
    ]
    assert 2 < low[1] - low[0] < 0.075 * 200


def test_a_frame_without_teeth_borrows_the_donors():
    shut, smiling = face(0.0), face(0.06, index=1)
    without, with_donor = knowledge(shut, smiling), knowledge(shut, smiling, donors={0: smiling})

    (own,), (borrowed,) = (speak(shut, (0.6, 0, 0), known=known) for known in (without, with_donor))

    assert teeth_pixels(borrowed) > 2 * teeth_pixels(own)


def test_the_order_and_the_batch_do_not_matter():
    faces = [face(0.05, index=0), face(0.0, index=1), face(0.03, index=2, roll=0.2)]
    known = knowledge(*faces, donors={0: faces[0]})
    rows = features(WIDE, ROUND, (0.4, 0.5, 0))

    together = ENGINE.render(faces, known, rows)
    alone = [ENGINE.render([faces[k]], known, rows[k : k + 1])[0] for k in (2, 0, 1)]

    for k, crop in zip((2, 0, 1), alone, strict=True):
        np.testing.assert_array_equal(crop, together[k])


def test_faces_of_different_sizes_in_turns_do_not_disturb_each_other():
    faces = [face(0.05, index=k, height=height) for k, height in enumerate((60.0, 240.0, 150.0))]
    known = knowledge(*faces, donors={0: faces[1]})
    expected = [ENGINE.render([one], known, features(WIDE))[0] for one in faces]
    kept = [crop.copy() for crop in expected]

    again = ENGINE.render([faces[k] for k in (1, 0, 2, 1)], known, features(*[WIDE] * 4))

    for k, crop in zip((1, 0, 2, 1), again, strict=True):
        np.testing.assert_array_equal(crop, expected[k])
    for crop, copy in zip(expected, kept, strict=True):
        np.testing.assert_array_equal(crop, copy)


def test_two_threads_draw_what_one_draws():
    one = face(0.05)
    known, rows = knowledge(one, donors={0: one}), np.random.default_rng(1).uniform(0, 0.9, (12, 4))
    expected = speak(one, *rows, known=known)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: speak(one, *rows, known=known), range(2)))

    for crops in found:
        np.testing.assert_array_equal(crops, expected)


def test_nothing_that_is_handed_in_is_modified():
    one = face(0.05)
    known = knowledge(one, donors={0: one})
    before = one.crop.copy(), one.landmarks.copy(), known.frame_features.copy()

    speak(one, WIDE, CLOSED, known=known)

    for now, then in zip((one.crop, one.landmarks, known.frame_features), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_motion_fades_out_as_the_head_turns_away():
    one = face(0.05)
    changed = []
    for yaw in (0, 24, 32, 38, 46, -60):
        known = knowledge(one)
        known.frame_features[0, frame_record.YAW] = yaw
        (out,) = speak(one, WIDE, known=known)
        changed.append(float(np.abs(out.astype(int) - one.crop).mean()))

    # teeth are drawn narrower, nothing else differs at 24 degrees
    assert changed[1] == pytest.approx(changed[0], rel=0.02)
    assert changed[1] > changed[2] > changed[3] > 0
    assert changed[4:] == [0, 0]


def test_a_chin_at_the_edge_of_the_picture_does_not_tear_it():
    one = face(0.0, size=(400, 282))  # the chin's lowest point is at 278
    assert one.box.y2 == 282

    (out,) = speak(one, WIDE)

    assert dark_pixels(out) > 50
    np.testing.assert_array_equal(out[-1], one.crop[-1])


@pytest.mark.parametrize("height", [4.0, 12.0, 24.0])
def test_a_tiny_face_does_no_harm(height):
    one = face(0.05, height=height)

    for out in speak(one, WIDE, CLOSED, ROUND):
        assert out.shape == one.crop.shape


def test_a_face_partly_outside_the_picture_is_drawn_as_far_as_it_goes():
    for centre in ((10, 220), (395, 400), (200, 5), (-40, -40)):
        one = face(0.05, centre=centre)

        (out,) = speak(one, WIDE)

        assert out.shape == one.crop.shape
        assert min(one.box.size) >= 2


def test_features_that_do_not_fit_are_refused():
    one = face()

    with pytest.raises(EngineError, match="shape"):
        ENGINE.render([one], knowledge(one), np.zeros((2, 3), np.float32))


def test_a_crop_that_is_not_its_boxs_is_refused():
    one = replace(face(), box=Box(0, 0, 10, 10))

    with pytest.raises(EngineError, match="box"):
        speak(one, WIDE, known=knowledge(face()))


def test_the_box_holds_mouth_chin_and_what_moves_below():
    points = mesh(roll=0.5)

    box = ENGINE.crop_box(points, 400, 420)

    below = points[152] + 0.2 * 200 * np.array([-np.sin(0.5), np.cos(0.5)])
    for x, y in [*points[mesh_topology.LOWER_LIP_OUTER], points[152], below]:
        assert box.x1 < x < box.x2
        assert box.y1 < y < box.y2
    assert 190 <= max(box.size) <= 240


def test_records_measure_the_gap_the_height_and_the_teeth():
    shut, smiling = measure_frame(face(0.0)), measure_frame(face(0.06))

    assert shut.height == pytest.approx(200, abs=1)
    assert (shut.gap, smiling.gap) == (pytest.approx(0, abs=1e-3), pytest.approx(0.06, abs=1e-3))
    assert shut.teeth == 0
    assert smiling.teeth > 0.8
    np.testing.assert_allclose(smiling.skin, SKIN, atol=15)
    np.testing.assert_allclose(smiling.lip, LIPS, atol=15)
