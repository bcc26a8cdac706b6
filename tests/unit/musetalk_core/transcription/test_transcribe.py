"""Listening against openai-whisper's own loop, against words that were really said, and against nothing."""

import json

import numpy as np
import pytest
import torch
import whisper
from word_errors import word_error_rate

from musetalk_core.errors import InputError
from musetalk_core.formats.pcm import PcmArray, PcmFile, duration_seconds
from musetalk_core.speech.tts.starter_voice import synthesize
from musetalk_core.transcription import decoding
from musetalk_core.transcription.decoding import DecodeOptions, language_code
from musetalk_core.transcription.spectrogram import Spectrogram
from musetalk_core.transcription.transcribe import _TranscriptionState, transcribe
from musetalk_core.transcription.transcript import TimeSpan, Transcript
from musetalk_core.transcription.vad import detect_speech
from musetalk_core.transcription.vad import speech_clips as joined
from musetalk_core.transcription.writers import write_transcript

RATE = 16_000
GREEDY = DecodeOptions(beam_size=1, words=False)


def whole(samples):
    return [TimeSpan(0.0, duration_seconds(samples))]


@pytest.fixture(scope="session")
def theirs(checkpoint):
    """The same model in the library's own hands."""
    net = whisper.load_model(str(checkpoint), device="cpu")
    net.set_alignment_heads(whisper._ALIGNMENT_HEADS["tiny.en"])
    return net


def lines_of(transcript):
    return [(round(s.start, 2), round(s.end, 2), s.text) for s in transcript.segments]


def lines_of_library(result):
    found = [(round(s["start"], 2), round(s["end"], 2), s["text"].strip()) for s in result["segments"]]
    return [line for line in found if line[2]]


@pytest.mark.parametrize(
    ("seconds", "options", "cuts"),
    [
        (7, DecodeOptions(beam_size=1), None),
        pytest.param(60, DecodeOptions(beam_size=1), None, marks=pytest.mark.slow),
        pytest.param(60, GREEDY, None, marks=pytest.mark.slow),
        pytest.param(
            60, DecodeOptions(beam_size=3, words=False), [1.5, 9.0, 20.0, 34.0], marks=pytest.mark.slow
        ),
    ],
    ids=["words of one window", "words", "plain", "beams and clips"],
)
def test_lines_and_times_are_the_librarys(tiny_en, theirs, long_reading, seconds, options, cuts):
    long_reading = PcmArray(long_reading.samples[: seconds * RATE])
    expected = whisper.transcribe(
        theirs,
        long_reading.samples,
        beam_size=options.beam_size if options.beam_size > 1 else None,
        best_of=5,
        word_timestamps=options.words,
        clip_timestamps=cuts or "0",
        fp16=False,
    )
    spans = [TimeSpan(*pair) for pair in zip(cuts[::2], cuts[1::2], strict=True)] if cuts else None

    heard = transcribe(long_reading, spans or whole(long_reading), tiny_en, None, options)

    assert lines_of(heard) == lines_of_library(expected)
    assert [s.avg_logprob for s in heard.segments] == pytest.approx(
        [s["avg_logprob"] for s in expected["segments"] if s["text"]], abs=1e-3
    )
    if options.words:
        words = [(w.word, w.start, w.end) for s in heard.segments for w in s.words]
        assert words == [
            (w["word"].strip(), w["start"], w["end"]) for s in expected["segments"] for w in s["words"]
        ]


def test_windows_of_the_spectrogram_are_those_of_the_whole(long_reading):
    expected = whisper.log_mel_spectrogram(long_reading.samples, padding=30 * RATE)
    heard = Spectrogram(long_reading, 80)

    assert heard.frames == expected.shape[1] - 3000
    for start, stop in [(0, 3000), (17, 900), (1234, heard.frames), (heard.frames - 1, heard.frames)]:
        assert np.abs(heard.window(start, stop) - expected[:, start:stop]).max() < 1e-4


@pytest.mark.parametrize("count", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_readings_are_understood(tiny_en, clips, count):
    read = sounds(clips)[:count]
    heard = [(text, transcribe(s, whole(s), tiny_en, None, GREEDY).text) for s, text in read]

    assert word_error_rate(heard) <= 0.10


def sounds(clips):
    return [(PcmArray(samples), text) for samples, text in clips]


SENTENCES = (
    "The old lighthouse stood at the end of the harbor.",
    "She bought two apples and a loaf of bread this morning.",
    "Please close the window before you leave the room.",
    "A heavy storm is expected to reach the coast tonight.",
    "The children were playing football in the garden.",
    "He opened the letter and read it very slowly.",
    "We will meet again next Thursday at the station.",
    "My brother works in a small shop near the river.",
    "The train was late because of snow on the tracks.",
    "Nobody knew the answer to the last question.",
)


@pytest.mark.slow
def test_ten_sentences_of_the_starter_voice_are_understood(tiny_en, tmp_path):
    import soxr

    heard = []
    for sentence in SENTENCES:
        spoken = synthesize(sentence)
        samples = PcmArray(soxr.resample(spoken.samples, spoken.rate, RATE).astype(np.float32))
        heard.append((sentence, transcribe(samples, whole(samples), tiny_en, "en", DecodeOptions()).text))

    assert word_error_rate(heard) <= 0.05, heard


def test_it_reports_every_window_and_can_be_stopped(tiny_en, long_reading):
    told = []

    def on_seconds(done, total):
        told.append((done, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transcribe(long_reading, whole(long_reading), tiny_en, None, GREEDY, on_seconds)

    assert len(told) == 1 and 20 < told[0][0] <= 30 and told[0][1] == duration_seconds(long_reading)


def test_silence_and_music_are_no_words(tiny_en, silero):
    quiet = PcmArray((0.001 * np.random.default_rng(3).standard_normal(40 * RATE)).astype(np.float32))

    heard = transcribe(quiet, joined(detect_speech(quiet, silero), 40.0), tiny_en, None, DecodeOptions())

    assert (heard.text, heard.segments, heard.language, heard.confidence) == ("", (), None, None)


@pytest.mark.slow  # in the quick tests, jobs of tests/flow/test_transcribe.py read files
def test_a_file_is_read_piece_by_piece(tiny_en, long_reading, clips, tmp_path, monkeypatch):
    path = tmp_path / "speech.f32"
    path.write_bytes(long_reading.samples.astype("<f4").tobytes())
    longest = []
    real = PcmFile.read
    monkeypatch.setattr(PcmFile, "read", lambda self, a, b: (longest.append(b - a), real(self, a, b))[1])

    heard = transcribe(PcmFile(path), whole(long_reading), tiny_en, None, GREEDY)

    assert max(longest) <= 31 * RATE < long_reading.count
    assert word_error_rate([(" ".join(text for _, text in [*clips, *clips[:2]]), heard.text)]) <= 0.15


def test_a_transcript_is_written_in_five_forms(tiny_en, clips, tmp_path):
    samples = PcmArray(clips[0][0])
    heard = transcribe(samples, whole(samples), tiny_en, "en", DecodeOptions(beam_size=1))

    write_transcript(heard, tmp_path, {"model": "tiny.en"})

    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".srt", ".tsv", ".txt", ".vtt"]
    assert (tmp_path / "transcript.txt").read_text() == heard.text + "\n"
    assert (tmp_path / "transcript.vtt").read_text().startswith("WEBVTT\n\n00:00.000 --> 00:0")
    assert (tmp_path / "transcript.srt").read_text().startswith("1\n00:00:00,000 --> 00:00:0")
    assert (tmp_path / "transcript.tsv").read_text().splitlines()[0] == "start\tend\ttext"
    found = json.loads((tmp_path / "transcript.json").read_text())
    [segment] = found["segments"]
    assert found["language"] == "en" and found["language_probability"] is None
    assert " ".join(word["word"] for word in segment["words"]) == segment["text"] == found["text"]
    probabilities = [word["probability"] for word in segment["words"]]
    assert segment["confidence"] == pytest.approx(np.mean(probabilities), abs=1e-3) == found["confidence"]
    assert all(
        a["end"] <= b["start"] + 1e-9 for a, b in zip(segment["words"], segment["words"][1:], strict=False)
    )


def test_nothing_said_is_written_too(tmp_path):
    write_transcript(Transcript((), None, (), 3.0), tmp_path, {})

    assert (tmp_path / "transcript.txt").read_text() == ""
    assert (tmp_path / "transcript.vtt").read_text() == "WEBVTT\n\n"


def test_languages_are_read_as_the_library_does():
    assert [language_code(text) for text in ("", "de", "German", " castilian ")] == [None, "de", "de", "es"]
    with pytest.raises(InputError, match="does not support the language"):
        language_code("klingon")


def noise(seconds, seed=7):
    """Loud noise with clicks, which no decoder takes for clear speech."""
    source = np.random.default_rng(seed)
    sound = source.normal(0, 0.2, int(seconds * RATE)) * (1 + np.sin(np.arange(int(seconds * RATE)) / 900))
    return PcmArray(sound.clip(-1, 1).astype(np.float32))


@pytest.fixture
def never_satisfied(monkeypatch):
    """No text passes the thresholds, and none counts as silence: the worst case of the fallback."""
    monkeypatch.setattr(decoding, "_MIN_AVG_LOGPROB", 10.0)
    monkeypatch.setattr(decoding, "_NO_SPEECH_THRESHOLD", 2.0)


@pytest.mark.parametrize(("seconds", "count"), [(0.5, 2), (3, 2), (6, 2), (7, 3), (18, 4), (29, 6), (30, 6)])
def test_the_attempts_at_a_window_grow_with_its_sound(seconds, count):
    temperatures = decoding.temperatures_for(seconds)

    assert len(temperatures) == count
    assert temperatures[0] == 0.0 and temperatures[-1] == 1.0
    assert temperatures == tuple(sorted(set(temperatures)))


def test_the_tokens_of_bad_sound_are_bounded_by_its_length(one_layer, never_satisfied):
    tokens = []
    handle = one_layer.net.decoder.register_forward_pre_hook(lambda _, given: tokens.append(given[0].shape))
    try:
        sound = noise(1.0)
        transcribe(sound, whole(sound), one_layer, "en", DecodeOptions())
    finally:
        handle.remove()

    windows = 4 + 1
    assert len(tokens) <= windows * (2 * (16 + 30) + 1 + 1), "two attempts of 46 tokens, and the word times"


def test_a_model_that_returns_little_per_window_does_not_decode_for_ever(tiny_en, monkeypatch):
    windows = []

    def slow(self, window, frame, length, may_retry):
        windows.append((frame, may_retry))
        return [], frame + 1

    monkeypatch.setattr(_TranscriptionState, "_transcribe_window", slow)
    sound = noise(10.0)
    transcribe(sound, whole(sound), tiny_en, "en", GREEDY)

    assert len(windows) == 4 + 5 + 1
    assert [may for _, may in windows] == [True] * 9 + [False]


def test_sampled_texts_are_the_same_whatever_ran_before(one_layer, never_satisfied):
    sound, options = noise(1.0), DecodeOptions(beam_size=1, best_of=2, words=False)
    torch.manual_seed(1)
    first = transcribe(sound, whole(sound), one_layer, "en", options)
    torch.manual_seed(2)
    torch.rand(100)
    state = torch.random.get_rng_state()
    second = transcribe(sound, whole(sound), one_layer, "en", options)

    assert [s.text for s in first.segments] == [s.text for s in second.segments]
    assert {s.temperature for s in first.segments} == {1.0}, "it was sampled"
    assert torch.equal(state, torch.random.get_rng_state()), "the generator of others is left alone"


def test_a_window_can_be_left_anywhere_and_the_network_is_as_before(one_layer, clips):
    class Stopped(Exception):
        pass

    sound, _ = sounds(clips)[0]
    calls = [0]

    def stop_at(number):
        def check():
            calls[0] += 1
            if calls[0] == number:
                raise Stopped

        return check

    options = DecodeOptions(beam_size=1)
    expected = lines_of(transcribe(sound, whole(sound), one_layer, "en", options, check=stop_at(-1)))
    total = calls[0]
    blocks = len(one_layer.net.encoder.blocks) + len(one_layer.net.decoder.blocks)
    assert total > 5 * blocks
    for number in (1, blocks // 2, total // 2, total - 2, total):  # in the encoder, the text, the word times
        calls[0] = 0
        with pytest.raises(Stopped):
            transcribe(sound, whole(sound), one_layer, "en", options, check=stop_at(number))
        assert [m for m in one_layer.net.modules() if m._forward_hooks or m._forward_pre_hooks] == []

    assert lines_of(transcribe(sound, whole(sound), one_layer, "en", options)) == expected
