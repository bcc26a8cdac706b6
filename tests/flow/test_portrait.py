"""The portrait flow: texts are spoken for it, pictures are framed, videos do as sound."""

import subprocess

import av
import numpy as np
import pytest
from pydantic import ValidationError

from flows.portrait import portrait
from flows.schemas.speech import SpeechJob
from flows.schemas.video import PortraitJob
from flows.speech import speech
from musetalk_core.errors import MediaUnreadable
from musetalk_core.formats.pcm import PcmFile
from musetalk_core.media.audio.decode import decode_speech
from musetalk_core.media.output.ffmpeg import find_ffmpeg
from tasks.cache.artefacts import artefact_cache
from tasks.storage.home_store import home_store

SPEECH_S = 3
TEXT = "Good morning. My mother bought five big blue balloons."


def uri(path):
    return f"file://{path}"


def stored(result, folder):
    target = folder / "portrait.mp4"
    key = "outputs/" + result.video.uri.split("/outputs/", 1)[1]
    home_store().download(key, result.video.version, target)
    return target


def heard(path, folder):
    """(S,) the sound of a file at 16 kHz."""
    count = decode_speech(path, folder / "heard.f32")
    return PcmFile(folder / "heard.f32").read(0, count)


def test_a_text_is_spoken_and_the_sound_track_is_that_speech(home, portrait_file):
    job = PortraitJob(image=uri(portrait_file), text=TEXT)
    result = portrait(job)

    assert (result.name, result.phones, result.engine) == ("anna_speech.mp4", "given", "viseme")
    assert abs(result.duration_s - result.speech_s) <= 1 / 25
    spoken = heard(artefact_cache().file(result.speech, "speech.wav"), home)
    shown = heard(stored(result, home), home)
    length = min(len(spoken), len(shown))
    assert abs(len(spoken) - len(shown)) < 16_000 / 25
    edge = slice(400, length - 400)
    fits = [np.corrcoef(spoken[edge], np.roll(shown, lag)[edge])[0, 1] for lag in range(-60, 61)]
    assert np.argmax(fits) - 60 == 0, "not a sample late or early"
    assert max(fits) > 0.995
    again = portrait(job)
    assert {"speak", "join", "prepare", "features", "sound"} <= set(again.cached)


def test_the_mark_of_the_speech_is_the_mark_of_the_video(home, portrait_file):
    spoken = speech(SpeechJob(text=TEXT))
    marked, plain = (
        portrait(PortraitJob(image=uri(portrait_file), text=TEXT, engine="fake", imperceptible_mark=choice))
        for choice in (None, "off")
    )
    assert marked.provenance.mark == spoken.provenance.mark is not None
    assert plain.provenance.mark is None


def test_it_speaks_what_a_speech_job_speaks(home, portrait_file):
    spoken = speech(SpeechJob(text=TEXT, seed=3, pause_duration=300))
    voice = {"seed": 3, "pause_duration": 300}
    result = portrait(PortraitJob(image=uri(portrait_file), text=TEXT, voice=voice, engine="fake"))

    assert result.speech == spoken.speech
    assert "speak" in result.cached


def test_a_video_is_taken_as_sound(home, portrait_file, speech_file, clip_file):
    talking = home / "talking.mp4"
    words = [find_ffmpeg(), "-v", "error", "-i", clip_file, "-i", speech_file, "-c:v", "copy", talking]
    subprocess.run(words, check=True)

    result = portrait(PortraitJob(image=uri(portrait_file), audio=uri(talking), engine="fake"))

    assert result.speech is None
    assert result.speech_s == pytest.approx(SPEECH_S, abs=0.1)


@pytest.mark.parametrize(
    ("framing", "size"),
    [({"crop": "square", "max_width": 160}, (160, 160)), ({"max_height": 120, "max_width": 400}, None)],
)
def test_a_picture_is_cut_and_made_smaller(home, portrait_file, speech_file, framing, size):
    job = PortraitJob(image=uri(portrait_file), audio=uri(speech_file), engine="fake", framing=framing)
    result = portrait(job)

    assert result.name == "anna_hello.mp4"
    assert (result.width, result.height) == size if size else result.height == 120
    with av.open(str(stored(result, home))) as file:
        assert (file.streams.video[0].width, file.streams.video[0].height) == (result.width, result.height)


def test_a_video_as_the_picture_cannot_be_cropped(home, clip_file, speech_file):
    job = PortraitJob(image=uri(clip_file), audio=uri(speech_file), framing={"crop": "face"})

    with pytest.raises(MediaUnreadable, match="still picture"):
        portrait(job)


@pytest.mark.parametrize("fields", [{}, {"text": " "}])
def test_something_must_be_said(fields):
    with pytest.raises(ValidationError, match="needs audio or a text"):
        PortraitJob(image="asset://a", **fields)
