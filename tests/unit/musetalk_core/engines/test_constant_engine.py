from fractions import Fraction

import numpy as np
import pytest

from musetalk_core.engine_protocol import Conditioning, Engine, FaceFrame
from musetalk_core.engine_registry import load_engine
from musetalk_core.engines.constant_engine import FakeEngine, grey_level
from musetalk_core.formats.pcm import PcmArray
from musetalk_core.types import Box

ENGINE: Engine = FakeEngine()


def face(index):
    return FaceFrame(
        index, 0, Box(0, 0, 4, 4), np.full((4, 4, 3), 10 * index, np.uint8), np.zeros((468, 2), np.float32)
    )


@pytest.mark.parametrize("name", ["fake", "viseme"])
def test_an_engine_is_loaded_by_its_own_name(name):
    assert load_engine(name).name == name


def test_features_are_the_loudness_under_each_frame():
    samples = PcmArray(np.repeat(np.float32([0, 0.5, -1, 0.25]), 800))  # 50 ms each

    features = next(ENGINE.encode_audio(samples, 5, Fraction(20), None))

    np.testing.assert_allclose(features[:, 0], [0, 0.5, 1, 0.25, 0], atol=1e-6)


def test_loudness_has_no_drift_at_odd_rates():
    samples = PcmArray(np.ones(16_000, np.float32))

    features = next(ENGINE.encode_audio(samples, 24, Fraction(24000, 1001), None))

    assert (features[:23] == 1).all()
    assert 0.9 < features[23, 0] < 1.01


def test_crops_show_the_features_in_order():
    known = Conditioning(np.zeros((3, 2), np.float32))

    crops = ENGINE.render([face(2), face(0), face(2)], known, np.float32([[0.1], [1.5], [0.6]]))

    assert [crop.shape for crop in crops] == [(256, 256, 3)] * 3
    assert [int(crop[7, 9, 1]) for crop in crops] == [grey_level(0.1), 255, grey_level(0.6)] == [26, 255, 153]


def test_records_name_their_frame_and_survive_settling():
    records = np.stack(
        [*(kept.frame_features for kept in ENGINE.encode_faces(iter([face(0), face(3)]))), [np.nan, np.nan]]
    ).astype(np.float32)

    np.testing.assert_array_equal(
        ENGINE.smooth_features(records, [0, 0, -1], Fraction(25)), [[0, 0], [3, 30], [0, 0]]
    )
    assert ENGINE.choose_teeth_references(records, [-1, 0, 0, 4]) == {0: 1, 4: 3}


def test_the_box_surrounds_the_mesh_inside_the_picture():
    points = np.tile(np.float32([50, 60]), (468, 1))
    points[0], points[1] = (-5, 20.5), (70.2, 95)

    assert ENGINE.crop_box(points, 100, 90) == Box(0, 20, 72, 90)
