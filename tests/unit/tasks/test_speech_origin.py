"""Features of a spoken text: their key names where the phonemes came from."""

import pytest

from musetalk_core.speech.phones import Phone, load_phones, save_phones
from tasks.cache.artefacts import artefact_cache
from tasks.models.engines import EngineSpec
from tasks.refs import SourceFile
from tasks.steps.speech_features import (
    PHONES_FILE,
    SPEECH_KIND,
    TEXT_FILE,
    KnownSpeech,
    features_key,
    load_cached_phones,
    resolve_speech,
)

VISEME, SPOKEN = EngineSpec(name="viseme"), "5" * 64
AUDIO = SourceFile(uri="s3://media/a.wav", name="a.wav", version="1", sha256="2" * 64, size=5)


@pytest.fixture
def spoken(configure):
    """Put the spoken text into the cache, with or without phoneme times."""
    configure()

    def put(timed):
        def make(folder):
            (folder / TEXT_FILE).write_text("my words")
            if timed:
                save_phones([Phone(0.0, 1.0, "M")], folder / PHONES_FILE)

        return artefact_cache().get_or_create(SPEECH_KIND, SPOKEN, make)

    return put


def key(known):
    return features_key(AUDIO, known, VISEME, "25")


def test_the_key_tells_given_phonemes_from_words_and_from_neither(spoken):
    timed = spoken(True)
    given = resolve_speech("job's words", SPOKEN, VISEME)
    assert given == KnownSpeech(timed=timed)

    artefact_cache().delete(SPEECH_KIND, SPOKEN)
    gone = resolve_speech("job's words", SPOKEN, VISEME)
    assert gone == KnownSpeech(text="job's words")
    unknown = resolve_speech(None, SPOKEN, VISEME)
    assert unknown == KnownSpeech()

    spoken(False)
    words = resolve_speech("job's words", SPOKEN, VISEME)
    assert words == KnownSpeech(text="my words")
    assert len({key(one) for one in (given, gone, unknown, words)}) == 4


def test_the_phonemes_of_the_page_are_those_that_were_used(spoken):
    spoken(True)
    known = resolve_speech(None, SPOKEN, VISEME)

    assert [phone.name for phone in load_cached_phones(AUDIO, known, "given")] == ["M"]
    assert load_phones(artefact_cache().file(known.timed, PHONES_FILE))[0].name == "M"
    assert load_cached_phones(AUDIO, KnownSpeech(), "energy") == []


def test_an_engine_without_phonemes_has_one_key_for_all_texts(spoken):
    spoken(True)
    neural = EngineSpec(name="musetalk")

    assert resolve_speech("some words", SPOKEN, neural) == resolve_speech(None, None, neural) == KnownSpeech()
