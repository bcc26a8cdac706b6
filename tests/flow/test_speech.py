"""The speech flow with the starter voice: pieces, caches, formats, what is shown."""

import json
import wave

import av
import numpy as np
import pytest
from pydantic import ValidationError
from shown import artifacts_of

from flows.lip_sync import lip_sync
from flows.schemas.speech import SpeechJob
from flows.schemas.video import LipSyncJob
from flows.speech import speech
from flows.storage.output_names import speech_file_name
from musetalk_core.errors import InputError, ModelNotInstalled
from musetalk_core.speech.audio.loudness import TARGET_LUFS, measure_loudness
from musetalk_core.speech.phones import load_phones
from tasks.cache.artefacts import artefact_cache
from tasks.storage.home_store import home_store

TEXT = "My mother bought five big blue balloons. Was it better? They flew away!"


def stored(result, folder):
    """The uploaded file."""
    target = folder / result.name
    key = "outputs/" + result.audio.uri.split("/outputs/", 1)[1]
    home_store().download(key, result.audio.version, target)
    return target


def whole(result):
    """(S,) float32 of the joined sound."""
    with wave.open(str(artefact_cache().file(result.speech, "speech.wav"))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24_000, 1, 2)
        return np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / np.float32(32767)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        (None, None, ("speech.mp3", "mp3")),
        ("greeting", None, ("greeting.mp3", "mp3")),
        ("greeting.wav", None, ("greeting.wav", "wav")),
        ("greeting.wav", "ogg", ("greeting.ogg", "ogg")),
        ("take.2", "flac", ("take.2.flac", "flac")),
        (".mp3", None, (".mp3.mp3", "mp3")),
    ],
)
def test_a_name_is_taken_with_and_without_its_ending(name, kind, expected):
    assert speech_file_name(name, kind) == expected


def test_a_text_is_spoken_in_sentences_at_one_loudness(home):
    result = speech(SpeechJob(text=TEXT, pause_duration=400))

    assert (result.engine, result.voice, result.sentences, result.spoken) == ("starter", "heart", 3, 3)
    samples = whole(result)
    assert len(samples) / 24_000 == pytest.approx(result.duration_s, abs=1e-4)
    phones = load_phones(artefact_cache().file(result.speech, "phones.json"))
    assert [p.name for p in phones if p.name][:7] == ["M", "AY", "M", "AH", "DH", "AH", "R"]
    assert phones[-1].end_s == pytest.approx(result.duration_s, abs=1e-3)
    assert measure_loudness(samples, 24_000) == pytest.approx(TARGET_LUFS, abs=0.5)
    assert result.warnings == []


@pytest.mark.parametrize(
    ("kind", "codec", "container"),
    [("mp3", "mp3", "mp3"), ("wav", "pcm_s16le", "wav"), ("flac", "flac", "flac"), ("ogg", "vorbis", "ogg")],
)
def test_every_format_is_what_it_says_and_as_long_as_the_speech(home, kind, codec, container):
    result = speech(SpeechJob(text="Hello. Good morning.", format=kind))

    path = stored(result, home)
    assert path.suffix == f".{kind}"
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        assert (stream.codec_context.name.removesuffix("float"), stream.sample_rate) == (codec, 24_000)
        assert file.format.name == container
        heard = sum(frame.samples for frame in file.decode(audio=0))
    assert heard / 24_000 == pytest.approx(result.duration_s, abs=0.001)


def test_an_edit_speaks_one_sentence_anew(home):
    speech(SpeechJob(text=TEXT))
    again = speech(SpeechJob(text=TEXT))
    edited = speech(SpeechJob(text=TEXT.replace("better", "worse")))
    longer = speech(SpeechJob(text=f"Good morning. {TEXT}", format="wav"))

    assert again.spoken == 0 and {"speak", "join", "encode"} <= set(again.cached)
    assert (edited.spoken, edited.sentences) == (1, 3)
    assert (longer.spoken, longer.sentences) == (1, 4)


def test_a_monologue_is_a_list_or_a_text(home):
    as_list = speech(SpeechJob(monologue=["Hello there", "Good morning."]))
    as_text = speech(SpeechJob(monologue="Hello there. Good morning."))

    assert as_list.text == "Hello there Good morning."
    assert (as_list.sentences, as_text.sentences, as_text.spoken) == (2, 2, 1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "either text or monologue"),
        ({"text": "a", "monologue": "b"}, "Use only one"),
        ({"text": "  "}, "text cannot be empty"),
        ({"monologue": [" ", ""]}, "at least 1 character"),
        ({"text": "a", "voice": "clone"}, "reference_audio is required"),
        ({"text": "a", "voice": "clone", "engine": "starter"}, "cannot clone"),
        ({"text": "a", "voice": "clone", "reference_audio": "asset://a"}, "reference_text is required"),
        (
            {"text": "a", "voice": "clone", "reference_audio": "asset://a", "reference_text": "b"},
            "consent: true",
        ),
        ({"text": "a", "temperature": float("nan")}, "temperature"),
    ],
)
def test_what_does_not_go_together_is_refused(fields, words):
    with pytest.raises(ValidationError, match=words):
        SpeechJob(**fields)


def test_without_its_weights_the_other_voice_is_not_installed(home, speech_file):
    clone = {
        "voice": "clone",
        "reference_audio": f"file://{speech_file}",
        "reference_text": "a",
        "consent": True,
    }

    for fields in ({"engine": "csm"}, clone):
        with pytest.raises(ModelNotInstalled, match="musetalk weights pull csm"):
            speech(SpeechJob(text="Hello.", **fields))
    with pytest.raises(ModelNotInstalled, match="set `fallback: true`"):
        speech(SpeechJob(text="Hello.", voice="conversational_a"))
    named = speech(SpeechJob(text="Hello.", voice="conversational_a", fallback=True))
    assert named.engine == "starter" and len(named.warnings) == 1
    assert named.warnings[0].startswith("model_substituted: the starter voice was used")


def test_a_text_without_words_is_refused(home):
    with pytest.raises(InputError, match="no words"):
        speech(SpeechJob(text="... !"))


@pytest.mark.parametrize("kind", ["mp3", "wav"])
def test_lips_get_the_exact_times_of_a_spoken_job(home, clip_file, kind, monkeypatch):
    spoken = speech(SpeechJob(text=TEXT, format=kind))
    found = {"audio": spoken.audio.model_dump(), "speech": spoken.speech.model_dump()}
    monkeypatch.setattr("tasks.inputs.job_outputs._read_result", lambda _: found)

    job = "job://00000000-0000-4000-8000-000000000000"
    result = lip_sync(LipSyncJob(video=f"file://{clip_file}", audio=job))

    assert result.phones == "given"
    assert result.speech_s == pytest.approx(spoken.duration_s, abs=0.001)


def test_people_see_a_wave_and_the_sentences(home):
    shown = artifacts_of(speech(SpeechJob(text=TEXT), return_state=True))

    assert shown["waveform"].type == "markdown"
    assert "](data:image/png;base64," in str(shown["waveform"].data)
    rows = json.loads(shown["sentences"].data)
    assert [row["sentence"] for row in rows] == [
        "My mother bought five big blue balloons.",
        "Was it better?",
        "They flew away!",
    ]


@pytest.mark.slow
def test_two_thousand_words_are_spoken_whole(home):
    words = ("one two three four five six seven eight nine ten " * 200).split()
    sentences = [" ".join(words[first : first + 16]) for first in range(0, 2000, 16)]
    text = " ".join(f"{sentence.capitalize()}." for sentence in sentences)

    result = speech(SpeechJob(text=text))

    assert result.sentences == 125
    assert result.duration_s > 500
