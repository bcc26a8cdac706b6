from fractions import Fraction

import pytest

from musetalk_core.errors import InputError
from musetalk_core.rendering.chunking import plan_chunks

RATES = [
    Fraction(n, d) for n, d in ((24, 1), (25, 1), (24000, 1001), (30000, 1001), (30, 1), (50, 1), (60, 1))
]


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("samples", [16_000, 18_560, 480_001, 16_000 * 3600])
def test_the_picture_ends_within_one_frame_of_the_sound(rate, samples):
    made = plan_chunks(samples, rate, 10)

    missing = Fraction(samples, 16_000) - made.frames / rate
    assert 0 <= missing < 1 / rate


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_chunks_cover_every_frame_once(rate):
    made = plan_chunks(16_000 * 61, rate, 10)

    covered = [frame for chunk in made.chunks for frame in range(chunk.start, chunk.stop)]
    assert covered == list(range(made.frames))
    assert [chunk.number for chunk in made.chunks] == list(range(len(made.chunks)))


def test_a_length_that_floats_round_down_keeps_its_last_frame():
    assert plan_chunks(18_560, Fraction(25), 10).frames == 29  # 1.16 s; 28 in float arithmetic


def test_speech_shorter_than_a_frame_is_refused():
    with pytest.raises(InputError, match="shorter than one video frame"):
        plan_chunks(500, Fraction(25), 10)
