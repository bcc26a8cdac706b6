"""The lips of a finished, encoded video follow speech whose text the renderer was not told."""

import sys
from fractions import Fraction
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[4] / "benchmarks"))
import media
import sync as bench


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sync")


@pytest.fixture(scope="module")
def speeches(folder):
    return bench.speeches(folder)


@pytest.fixture(scope="module")
def wrong():
    return bench.wrong_curves(Fraction(25))


@pytest.fixture(scope="module")
def faces(folder):
    clip = media.talking_head(folder / "head.mp4", 2, size=(480, 360), face_px=200)
    return {"still": media.ASSETS / "astronaut.jpg", "clip": clip}


@pytest.mark.parametrize("told", [False, True], ids=["heard", "told"])
@pytest.mark.parametrize(("face", "speech"), [("still", 0), ("clip", 1)])
def test_lips_follow_the_speech_and_no_other(face, speech, told, faces, speeches, wrong, folder):
    match, shut = bench.measure(faces[face], speeches[speech], folder / "job", wrong, told)

    assert match.right.correlation >= (0.8 if told else 0.65)
    assert abs(match.right.lag_frames) <= 1
    assert match.right.correlation > match.wrong_max
    assert match.margin >= 0.4
    assert shut.bilabials >= 0.9
    assert shut.silences >= 0.9
