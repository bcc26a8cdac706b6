"""Phones of recordings: with their text, with a wrong one, without, and where there is no speech."""

import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soxr

from musetalk_core.errors import EngineError, ModelNotInstalled
from musetalk_core.formats.pcm import PcmArray, PcmFile
from musetalk_core.speech.alignment import worker_process
from musetalk_core.speech.alignment.align import agreement, find_phones
from musetalk_core.speech.alignment.pocketsphinx import PhoneRecognizer, WordRecognizer
from musetalk_core.speech.mouth_curves import mouth_curves
from musetalk_core.speech.phones import Phone
from musetalk_core.speech.tts.starter_voice import synthesize
from musetalk_core.speech.visemes import BILABIALS, to_arpabet

RATE = 16000
OTHER = "hello world this is entirely different text which is much longer than that"
LABIAL = (
    "My mother bought five big blue balloons before the party began, and my brother popped them.",
    "Maybe somebody could bump into my camera during the boring meeting.",
    "The company published a report about the problem in December.",
    "Could you please put the empty cups back on the table before bedtime?",
    "Combine the butter with brown sugar, then pour the mixture into a bowl.",
    "A number of important problems remain, but most members hope for improvement.",
)


def lips(phones):
    return [(p.start_s, p.end_s) for p in phones if to_arpabet(p.name) in BILABIALS]


def meet(a, b):
    return a[0] < b[1] + 0.04 and b[0] < a[1] + 0.04


def names(phones):
    return [p.name for p in phones if p.name]


def speech(text):
    spoken = synthesize(text)
    return PcmArray(np.float32(soxr.resample(spoken.samples, 24000, RATE))), spoken.phones


def opening(phones, samples):
    return mouth_curves(None, phones, samples.count * 25 // RATE, Fraction(25))[:, 0]


@pytest.fixture(scope="module")
def known(reading, reading_text):
    return find_phones(reading, reading_text)


@pytest.fixture(scope="module")
def free(reading):
    return find_phones(reading)


def test_a_known_text_is_aligned(known, reading):
    phones, method = known

    assert method == "aligned"
    assert names(phones)[:9] == ["AE", "N", "D", "M", "IH", "S", "T", "ER", "JH"]
    assert phones[-1].end_s <= reading.count / RATE
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(phones))


def test_without_a_text_phones_are_recognised(free, known):
    assert free[1] == "recognised"
    assert agreement(known[0], free[0], 7.1) > 0.4


@pytest.mark.parametrize("text", [OTHER, "hello", "?!"])
def test_a_wrong_or_empty_text_is_not_used(reading, free, text):
    assert find_phones(reading, text) == free


def test_numbers_and_unknown_words_are_aligned_too():
    samples, truth = speech("On the 3rd of March 1,250 zyxtrans paid $9.99 each!")

    phones, method = find_phones(samples, "On the 3rd of March 1,250 zyxtrans paid $9.99 each!")

    assert method == "aligned"
    assert np.corrcoef(opening(phones, samples), opening(truth, samples))[0, 1] > 0.75


def test_alignment_follows_the_voice_better_than_recognition():
    text = "Perhaps Bob and Pam will bring the map of Maine."
    samples, truth = speech(text)

    def fit(phones):
        return np.corrcoef(opening(phones, samples), opening(truth, samples))[0, 1]

    aligned, recognised = fit(find_phones(samples, text)[0]), fit(find_phones(samples)[0])
    assert aligned > 0.8
    assert aligned > recognised > 0.5


def test_lips_that_meet_are_heard_without_the_text():
    heard = spoken = wrong = 0
    for text in LABIAL:
        samples, truth = speech(text)
        found, wanted = lips(find_phones(samples)[0]), lips(truth)
        spoken += len(wanted)
        heard += sum(any(meet(a, b) for b in found) for a in wanted)
        wrong += sum(not any(meet(a, b) for a in wanted) for b in found)

    assert heard >= 0.85 * spoken  # 63 of 70; 51 when phones are recognised without words
    assert wrong <= 0.05 * spoken


def test_words_that_are_hardly_heard_are_not_trusted(reading, monkeypatch):
    monkeypatch.setattr(WordRecognizer, "recognize", lambda *_: [Phone(1.0, 1.2, "B")])

    phones, method = find_phones(reading)

    assert method == "recognised"
    assert names(phones) == names(PhoneRecognizer().recognize(reading.samples))


def test_a_text_longer_than_one_piece_is_aligned_piece_by_piece(reading, reading_text, known):
    samples = PcmArray(np.tile(reading.samples, 2))  # 14.2 s

    phones, method = find_phones(samples, reading_text * 2, max_segment_s=5)

    assert method == "aligned"
    assert len(names(phones)) == pytest.approx(2 * len(names(known[0])), rel=0.05)
    assert 14 < phones[-1].end_s <= 14.2


def test_music_before_the_speech_does_not_use_up_the_text(reading, reading_text, known):
    at = np.arange(6 * RATE) / RATE
    music = 0.1 * sum(np.sin(2 * np.pi * hz * at) for hz in (220, 277, 330)) * (np.sin(12 * at) > 0)
    music[-RATE // 2 :] = 0  # where the piece is cut
    samples = PcmArray(np.concatenate([music, reading.samples]).astype(np.float32))

    phones, method = find_phones(samples, reading_text, max_segment_s=8)

    assert method == "aligned"
    spoken = names(p for p in phones if p.start_s > 5.8)
    assert spoken[:9] == names(known[0])[:9]
    assert len(spoken) == pytest.approx(len(names(known[0])), rel=0.05)


def test_the_same_recording_always_gives_the_same_phones(reading, free):
    assert find_phones(reading) == free


def test_silence_is_one_silence():
    assert find_phones(PcmArray(np.zeros(RATE, np.float32))) == ([Phone(0.0, 1.0, "")], "recognised")


def test_sound_that_is_no_speech_leaves_only_the_energy():
    rng, at = np.random.default_rng(0), np.arange(4 * RATE) / RATE
    hum = sum(np.sin(2 * np.pi * hz * at) for hz in (220, 277, 330)) * (np.sin(12 * at) > 0)

    for sound in (0.1 * rng.standard_normal(4 * RATE), 0.1 * hum, 0.3 * np.sin(2000 * at)):
        assert find_phones(PcmArray(np.float32(sound)), OTHER) == ([], "energy")


@pytest.mark.parametrize("count", [0, 1, 150, 1600])
def test_the_shortest_sounds_do_no_harm(reading, count):
    phones, _ = find_phones(PcmArray(reading.samples[20000 : 20000 + count]), "hello")

    assert all(p.end_s <= count / RATE for p in phones)


def test_agreement_counts_the_same_phones_at_the_same_time():
    a = [Phone(0, 1, "AA"), Phone(1, 2, "")]

    assert agreement(a, a, 2) == 1
    assert agreement(a, [Phone(0, 1, "IY")], 2) == 0
    assert agreement(a, [Phone(0, 0.5, "AA"), Phone(0.5, 1, "B")], 2) == pytest.approx(0.5, abs=0.02)
    assert agreement([], [], 2) == 0


class Stopped(Exception):
    """The job is canceled."""


@pytest.fixture
def reading_file(reading, tmp_path):
    path = tmp_path / "reading.f32"
    path.write_bytes(reading.samples.astype("<f4").tobytes())
    return PcmFile(path)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_file_gives_the_same_phones_in_processes_of_its_own(
    reading_file, reading_text, known, free, is_known
):
    checks = []
    found = find_phones(reading_file, reading_text if is_known else None, check=lambda: checks.append(1))

    assert found == (known if is_known else free)
    assert checks, "the caller is asked meanwhile"


@pytest.mark.parametrize("is_known", [True, False])
def test_the_search_ends_within_a_second_of_a_cancellation(reading, tmp_path, reading_text, is_known):
    path = tmp_path / "long.f32"
    path.write_bytes(np.tile(reading.samples, 20).astype("<f4").tobytes())
    began = time.monotonic()
    stopped_at = []

    def check():
        if time.monotonic() - began > 1.0:
            stopped_at.append(time.monotonic())
            raise Stopped

    with pytest.raises(Stopped):
        find_phones(PcmFile(path), reading_text * 20 if is_known else None, check=check)

    assert time.monotonic() - stopped_at[0] < 1.0


def test_a_process_that_dies_is_an_error(reading_file, monkeypatch):
    monkeypatch.setattr(worker_process, "_WORKER_CODE", "raise SystemExit(1)")

    with pytest.raises(EngineError, match="process died"):
        find_phones(reading_file)


def test_a_missing_package_is_named_by_a_process_too():
    calls = worker_process.call_in_workers(f"{__name__}:missing", [()], 1, lambda: None)
    environment = {"PYTHONPATH": str(Path(__file__).parent)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(ModelNotInstalled, match="no such package"):
            next(calls)


def missing():
    raise ModelNotInstalled("no such package")
