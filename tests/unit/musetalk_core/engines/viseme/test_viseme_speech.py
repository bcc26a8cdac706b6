from fractions import Fraction

import numpy as np
import pytest

from musetalk_core.engines.viseme.engine import VisemeEngine
from musetalk_core.formats.pcm import PcmArray
from musetalk_core.speech.alignment import align
from musetalk_core.speech.phones import Phone

VOICE = PcmArray((0.2 * np.sin(np.arange(32_000) * 0.08)).astype(np.float32))
PHONES = [
    Phone(0.0, 0.5, ""),
    Phone(0.5, 0.9, "AA"),
    Phone(0.9, 1.0, "M"),
    Phone(1.0, 1.5, "UW"),
    Phone(1.5, 2.0, ""),
]


def test_known_phones_move_the_mouth():
    features = next(VisemeEngine().encode_audio(VOICE, 50, Fraction(25), PHONES))

    assert features.shape == (50, 4)
    assert features.dtype == np.float32
    assert features[3:9, 0].max() < 0.05
    assert features[16:21, 0].max() > 0.5
    assert features[22:25, 2].max() == pytest.approx(1, abs=0.05)
    assert features[28:35, 1].min() < -0.5


def test_unknown_phones_are_recognised(monkeypatch):
    heard = []
    monkeypatch.setattr(
        align, "find_phones", lambda samples: (heard.append(samples), (PHONES, "recognised"))[1]
    )
    engine = VisemeEngine()

    features = next(engine.encode_audio(VOICE, 50, Fraction(25), None))

    assert heard == [VOICE]
    np.testing.assert_array_equal(features, next(engine.encode_audio(VOICE, 50, Fraction(25), PHONES)))


def test_no_frames_are_no_features():
    assert next(VisemeEngine().encode_audio(VOICE, 0, Fraction(25), PHONES)).shape == (0, 4)
