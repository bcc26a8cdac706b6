"""The neural voice through the real flow, with a made-up model: it babbles, but by the rules."""

import signal
import threading
import time
import wave

import numpy as np
import pytest

from flows.schemas.speech import SpeechJob
from flows.speech import speech
from musetalk_core.errors import InputError
from musetalk_core.speech.tts.csm.model import Csm
from tasks.cache.artefacts import artefact_cache
from tasks.run.cancellation import Cancelled, request_cancellation, reset_cancellation
from tasks.settings import get_settings

TEXT = "One apple. Two pears. Three plums. Four figs."


@pytest.fixture
def csm(home, tiny_csm, monkeypatch):
    monkeypatch.setenv("MUSETALK_WEIGHTS__FOLDER", str(tiny_csm))
    monkeypatch.setenv("MUSETALK_MODELS__DEVICE", "cpu")
    get_settings.cache_clear()
    return home


@pytest.fixture
def said(monkeypatch):
    """Record the texts that the model synthesizes and the texts of their context, in order."""
    asked = []
    real = Csm.generate

    def say(self, text, context, *more):
        asked.append((text, tuple(turn.text for turn in context)))
        return real(self, text, context, *more)

    monkeypatch.setattr(Csm, "generate", say)
    return asked


def job(**fields):
    return SpeechJob(**({"text": "One apple.", "max_audio_length": 1500, "format": "wav"} | fields))


def samples(result):
    with wave.open(str(artefact_cache().file(result.speech, "speech.wav"))) as sound:
        assert sound.getframerate() == 24_000
        return sound.readframes(sound.getnframes())


def reference(home, seconds=3.0):
    path = home / "anna.wav"
    tone = np.sin(np.arange(int(16_000 * seconds)) * 0.05) * 8000
    with wave.open(str(path), "wb") as out:
        out.setparams((2, 2, 16_000, 0, "NONE", "not compressed"))
        out.writeframes(np.repeat(tone.astype("<i2"), 2).tobytes())
    return f"file://{path}"


def clone(home, **more):
    return {
        "voice": "clone",
        "reference_audio": reference(home),
        "reference_text": "We met.",
        "consent": True,
    } | more


def test_every_voice_is_itself_and_is_heard_first(csm, said):
    voices = [{"voice": "random"}, {"voice": "random", "seed": 1}, {"voice": "conversational_a"}]
    voices += [{"voice": "conversational_b"}, clone(csm)]
    made = [speech(job(**fields)) for fields in voices]

    assert {(one.engine, one.voice) for one in made} == {
        ("csm", name) for name in ("random", "conversational_a", "conversational_b", "clone")
    }
    assert len({samples(one) for one in made}) == len(voices)
    heard = {context[0][:9] for text, context in said if text == "One apple."}
    assert heard == {"This is h", "like revi", "like a su", "We met."}


def test_an_edit_speaks_one_sentence_and_nothing_twice(csm, said):
    first = speech(job(text=TEXT))
    said.clear()
    again = speech(job(text=TEXT))
    assert (first.sentences, first.spoken, again.spoken, said) == (4, 4, 0, [])

    edited = speech(job(text=TEXT.replace("Two pears", "No pears")))

    assert edited.spoken == 1
    assert {text for text, _ in said} == {"No pears."}


def test_with_context_what_follows_an_edit_is_spoken_anew(csm, said):
    speech(job(text=TEXT, context_sentences=1))
    heard = {text: context[1:] for text, context in said}
    assert heard["One apple."] == () and heard["Three plums."] == ("Two pears.",)

    edited = speech(job(text=TEXT.replace("Three plums", "No plums"), context_sentences=1))

    assert edited.spoken == 2


def test_other_parameters_are_another_sound(csm):
    plain = samples(speech(job()))

    for change in ({"temperature": 0.3}, {"topk": 3}, {"seed": 5}):
        again = speech(job(**change))
        assert again.spoken == 1, change
        assert samples(again) != plain, change


def test_a_killed_run_stops_within_a_frame_and_goes_on_where_it_was(csm, said, monkeypatch):
    frames, ended = [], []
    model = Csm.generate

    def say(self, text, context, budget, sampling, seed, on_frame):
        def counted(number):
            frames.append(time.monotonic())
            if text == "Two pears." and not ended and number == 1:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.1)  # a sentence takes its time, as a real one does
            on_frame(number)

        try:
            return model(self, text, context, budget, sampling, seed, counted)
        except Cancelled as error:
            ended.append(str(error))
            raise

    with monkeypatch.context() as patch:
        patch.setattr(Csm, "generate", say)
        with pytest.raises(BaseException) as caught:
            speech(job(text=TEXT))
        over = time.monotonic()
        time.sleep(0.5)

    assert not isinstance(caught.value, AssertionError)
    assert ended == ["the run of this sentence has ended"]
    assert frames[-1] < over, "nothing is spoken any more"
    said.clear()
    rest = speech(job(text=TEXT))
    assert rest.spoken == 3
    assert "One apple." not in {text for text, _ in said}


def test_a_job_that_is_asked_to_stop_stops_in_the_middle_of_a_sentence(csm, said, monkeypatch):
    frames = []
    model = Csm.generate

    def say(self, text, context, budget, sampling, seed, on_frame):
        def counted(number):
            frames.append((text, number))
            if text == "Two pears.":
                request_cancellation()
            on_frame(number)

        return model(self, text, context, budget, sampling, seed, counted)

    try:
        with monkeypatch.context() as patch, pytest.raises(Cancelled):
            patch.setattr(Csm, "generate", say)
            speech(job(text=TEXT))
    finally:
        reset_cancellation()

    assert frames[-1] == ("Two pears.", 1)
    assert speech(job(text=TEXT)).spoken == 3, "the first sentence is kept"


@pytest.mark.parametrize("seconds", [1.0, 61.0])
def test_a_recording_of_the_wrong_length_is_refused(csm, seconds):
    fields = clone(csm) | {"reference_audio": reference(csm, seconds)}

    with pytest.raises(InputError, match="must have 2 to 60 seconds"):
        speech(job(**fields))


def test_speed_is_not_ignored_in_silence(csm):
    assert speech(job(speed=1.2)).warnings[0].startswith("option_ignored: speed has no effect")
