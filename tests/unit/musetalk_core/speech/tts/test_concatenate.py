"""Sentences put one after the other, files of other kinds, and the picture of the wave."""

import wave

import numpy as np
import pytest

from musetalk_core.errors import InputError
from musetalk_core.formats.pcm import PcmFile
from musetalk_core.media.audio.decode import decode_speech, write_wav
from musetalk_core.media.output.convert_audio import convert_wav
from musetalk_core.speech.audio.waveform import draw_waveform, encode_png
from musetalk_core.speech.phones import Phone, load_phones, save_phones
from musetalk_core.speech.tts.concatenate import SentenceFiles, concatenate_sentences, read_wav
from musetalk_core.speech.tts.starter_voice import synthesize

RATE = 24_000


@pytest.fixture
def parts(tmp_path):
    made = []
    for number, seconds in enumerate((0.5, 1.0, 0.25)):
        part = SentenceFiles(tmp_path / f"{number}.wav", tmp_path / f"{number}.json")
        write_wav(part.wav, np.full(int(seconds * RATE), 0.1 * (number + 1), np.float32), RATE)
        save_phones([Phone(0, seconds / 2, "AA"), Phone(seconds / 2, seconds, "")], part.phones)
        made.append(part)
    return made


def test_sentences_lie_where_it_is_said_with_pauses_between(parts, tmp_path):
    spans = concatenate_sentences(iter(parts), 0.2, tmp_path / "all.wav", tmp_path / "all.json")

    assert spans == [(0, 0.5), (0.7, 1.7), (1.9, 2.15)]
    samples = read_wav(tmp_path / "all.wav")
    assert len(samples) == round(2.15 * RATE)
    assert samples[RATE // 4] == pytest.approx(0.1, abs=1e-4)
    assert not samples[int(0.5 * RATE) : int(0.7 * RATE)].any()
    phones = load_phones(tmp_path / "all.json")
    assert [p.name for p in phones] == ["AA", "", "", "AA", "", "", "AA", ""]
    assert phones[3][:2] == pytest.approx((0.7, 1.2))
    assert phones[-1].end_s == pytest.approx(2.15)


def test_without_the_times_of_one_sentence_there_are_none(parts, tmp_path):
    parts[1] = SentenceFiles(parts[1].wav, None)
    concatenate_sentences(parts, 0, tmp_path / "all.wav", tmp_path / "all.json")

    assert not (tmp_path / "all.json").exists()


def test_nothing_to_join_is_an_error(tmp_path):
    with pytest.raises(InputError):
        concatenate_sentences([], 0.1, tmp_path / "all.wav", tmp_path / "all.json")


@pytest.mark.parametrize("kind", ["mp3", "flac", "ogg", "wav"])
def test_no_kind_moves_the_sound_in_time(tmp_path, kind):
    write_wav(tmp_path / "a.wav", synthesize("My mother bought five big blue balloons.").samples, RATE)
    convert_wav(tmp_path / "a.wav", tmp_path / f"b.{kind}", kind)

    def heard(path):
        count = decode_speech(path, tmp_path / "heard.f32")
        return PcmFile(tmp_path / "heard.f32").read(0, count)

    before, after = heard(tmp_path / "a.wav"), heard(tmp_path / f"b.{kind}")
    assert len(before) == len(after)
    fits = [np.corrcoef(before[200:-200], np.roll(after, lag)[200:-200])[0, 1] for lag in range(-50, 51)]
    assert np.argmax(fits) - 50 == 0 and max(fits) > 0.99


def test_the_wave_is_drawn_where_there_is_sound(tmp_path):
    sound = np.concatenate([np.zeros(RATE), np.full(RATE, 0.5), np.full(RATE, -0.5)]).astype(np.float32)
    write_wav(tmp_path / "a.wav", sound, RATE)
    picture = draw_waveform(tmp_path / "a.wav", [2.0], width=300, height=101)

    ink = (picture == (150, 90, 40)).all(-1)
    assert ink[:, :98].sum(0).max() == 1
    assert (ink[30, 110:195].all(), ink[30, 210:].any(), ink[70, 210:].all()) == (True, False, True)
    assert not ink[0, 200] and (picture[0, 200] != picture[0, 150]).any()
    assert encode_png(picture).startswith(b"\x89PNG") and len(encode_png(picture)) < 10_000


def test_the_wave_of_an_hour_takes_no_hour_of_memory(tmp_path):
    import tracemalloc

    with wave.open(str(tmp_path / "long.wav"), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        for _ in range(10):
            out.writeframes(bytes(RATE * 2 * 60))
    tracemalloc.start()
    draw_waveform(tmp_path / "long.wav")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 24e6  # ten minutes as floats are 115 MB
