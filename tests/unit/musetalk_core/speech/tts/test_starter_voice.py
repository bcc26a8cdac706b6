"""The starter voice and the times of its phones."""

import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from musetalk_core.errors import InputError
from musetalk_core.speech.alignment.g2p import pronounce_words
from musetalk_core.speech.tts.starter_voice import RATE_HZ, synthesize, synthesize_sentences
from musetalk_core.speech.visemes import SILENCE, to_arpabet

TEXT = "My mother bought five big blue balloons. Was it better?"


@pytest.fixture(scope="module")
def spoken():
    return synthesize(TEXT)


def test_the_phones_are_those_of_the_words_in_order(spoken):
    names = [p.name for p in spoken.phones if p.name]

    assert names[:7] == ["M", "AY", "M", "AH", "DH", "AH", "R"]
    assert all(to_arpabet(n) != SILENCE for n in names)


def test_phones_cover_the_whole_sound_without_gaps(spoken):
    phones = spoken.phones

    assert phones[0].start_s == 0
    assert phones[-1].end_s == pytest.approx(len(spoken.samples) / RATE_HZ)
    assert all(a.end_s == pytest.approx(b.start_s) for a, b in pairwise(phones))
    assert all(p.end_s > p.start_s for p in phones)


def test_the_sound_is_where_the_phones_say(spoken):
    def level(phone):
        part = spoken.samples[int(phone.start_s * RATE_HZ) : int(phone.end_s * RATE_HZ)]
        return float(np.sqrt(np.mean(part**2)))

    vowels = [level(p) for p in spoken.phones if p.name in ("AY", "AO", "UW", "IH", "EH")]
    silence = [level(p) for p in spoken.phones if not p.name]

    assert min(vowels) > 3 * max(silence)


def test_the_same_seed_gives_the_same_samples(spoken):
    np.testing.assert_array_equal(synthesize(TEXT).samples, spoken.samples)
    assert not np.array_equal(synthesize(TEXT, seed=1).samples, spoken.samples)


def test_speed_changes_the_length_and_the_times_with_it(spoken):
    quick = synthesize(TEXT, speed=1.5)

    assert len(quick.samples) < 0.8 * len(spoken.samples)
    assert quick.phones[-1].end_s == pytest.approx(len(quick.samples) / RATE_HZ)


def test_a_pause_lies_between_sentences_only():
    close, apart = synthesize(TEXT, pause_s=0), synthesize(TEXT, pause_s=0.5)

    assert len(apart.samples) - len(close.samples) == RATE_HZ // 2
    assert apart.samples[-100:].any()


def test_sentences_come_one_at_a_time():
    assert len(list(synthesize_sentences("One. Two! Three?"))) == 3


def test_a_text_without_any_pause_is_still_spoken_in_pieces():
    parts = [len(p.samples) / RATE_HZ for p in synthesize_sentences("hello " * 120)]

    assert len(parts) > 1
    assert max(parts) < 60


@pytest.mark.parametrize("text", ["", "  \n ", "...", "你好"])
def test_a_text_without_words_is_refused(text):
    with pytest.raises(InputError, match=r"text to speak"):
        synthesize(text)


@pytest.mark.parametrize("speed", [0.1, 3, float("nan")])
def test_a_speed_out_of_range_is_refused(speed):
    with pytest.raises(InputError, match="speed must be between"):
        synthesize("hello", speed=speed)


def test_numbers_and_unknown_words_have_a_pronunciation():
    words = pronounce_words("In 2024, 3 zyxtrans paid $5!")
    by_text = {word.text: word.phones for word in words}

    assert by_text["3"] == ("TH", "R", "IY")
    assert by_text["2024"][:3] == ("T", "W", "EH")
    assert len(by_text["zyxtrans"]) > 4
    assert all(word.phones for word in words)


def test_a_long_line_is_read_whole():
    assert len(pronounce_words("hello world " * 1000)) == 2000


def test_the_voice_reports_to_nobody(tmp_path):
    env = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    code = "from musetalk_core.speech.tts.starter_voice import synthesize; synthesize('Hello.')"
    subprocess.run([sys.executable, "-c", code], env=env | {"TMPDIR": str(tmp_path)}, check=True, timeout=60)

    assert list(tmp_path.iterdir()) == []  # a reporting runtime leaves the file of its session there
