"""The media corpus through every job type: the right result, measured, or a typed error."""

import json

import corpus
import numpy as np
import pytest
from corpus_maker import ASSETS, COLORS, SUBTITLES, Maker, beep_time, corner_colors, flash_time, streams_of
from PIL import Image
from shown import artifacts_of
from word_errors import word_error_rate

from flows.caption import caption
from flows.lip_sync import lip_sync
from flows.portrait import portrait
from flows.prepare_avatar import prepare_avatar
from flows.schemas.caption import CaptionJob
from flows.schemas.transcribe import TranscribeJob
from flows.schemas.video import LipSyncJob, PortraitJob, PrepareAvatarJob
from flows.transcribe import transcribe
from musetalk_core.errors import RenderError
from musetalk_core.media.probe import probe

pytestmark = pytest.mark.slow

FRAME_S = 1 / 25


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return Maker(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def given(home, maker):
    """A function that makes a file of the corpus below the allowed folder, and gives its path."""

    def make(entry):
        path = entry(maker)
        target = home / path.name
        target.write_bytes(path.read_bytes())
        return target

    return make


@pytest.fixture
def subtitles(home):
    path = home / "said.srt"
    path.write_text(SUBTITLES)
    return f"file://{path}"


def stored(home, ref):
    return home / "home" / "store" / ref.uri.split("/store/", 1)[1]


def codes(result):
    return {text.split(":")[0] for text in result.warnings}


def check_output(path, expected):
    """Compare a video with what a player shows of its source."""
    width, height, picture_s, sound_s = streams_of(path)
    assert (width, height) == expected.size
    assert picture_s == pytest.approx(expected.seconds, abs=expected.slack_s)
    assert sound_s == pytest.approx(picture_s, abs=expected.slack_s)
    corner, flash_s = flash_time(path)
    assert expected.corners[corner] == "flash", "turned or mirrored wrongly"
    assert flash_s == pytest.approx(expected.flash_s, abs=0.1)
    assert abs(flash_s - beep_time(path)) <= FRAME_S + 0.01, "picture and sound have come apart"
    if expected.tolerance is None:
        return
    for name, seen in zip(expected.corners, corner_colors(path), strict=True):
        color = COLORS.get(name, (0, 0, 0))
        assert np.abs(seen - color).max() <= expected.tolerance, (name, seen)


@pytest.mark.parametrize("video", corpus.VIDEOS, ids=lambda one: one.name)
def test_an_odd_video_keeps_what_a_player_shows(video, home, given, subtitles):
    path = given(video.make)
    uri = f"file://{path}"
    seen = probe(path).video
    assert (seen.width, seen.height) == video.size

    synced = lip_sync(LipSyncJob(video=uri, audio=uri, engine="fake"))
    assert codes(synced) >= set(video.warnings)
    check_output(stored(home, synced.video), video)

    captioned = caption(CaptionJob(video=uri, captions=subtitles, place="top", size=2))
    check_output(stored(home, captioned.video), video)
    assert captioned.duration_s == pytest.approx(video.seconds, abs=video.slack_s)

    said = transcribe(TranscribeJob(audio=uri, beam_size=1, language="en"))
    assert said.duration_s == pytest.approx(video.seconds, abs=0.2)
    assert said.text and "no_speech" not in codes(said)


def refusal(flow, job):
    """Run a job that has to fail; its error, which is also its artifact."""
    state = flow(job, return_state=True)
    error = state.result(raise_on_failure=False)
    assert isinstance(error, RenderError), error
    told = json.loads(artifacts_of(state)["error"].data)
    assert (told["code"], told["retryable"]) == (error.code, False) and len(told["message"].split()) > 3
    return error


@pytest.mark.parametrize("name", corpus.HOSTILE)
def test_a_hostile_file_is_a_typed_error_of_every_job(name, home, given, subtitles):
    make, code = corpus.HOSTILE[name]
    uri = f"file://{given(make)}"
    speech = f"file://{home / 'hello.wav'}"
    (home / "hello.wav").write_bytes(next(ASSETS.glob("sense*0870.wav")).read_bytes())
    jobs = [
        (lip_sync, LipSyncJob(video=uri, audio=speech, engine="fake")),
        (prepare_avatar, PrepareAvatarJob(video=uri, engine="fake")),
        (portrait, PortraitJob(image=uri, audio=speech, engine="fake")),
        (caption, CaptionJob(video=uri, captions=subtitles)),
    ]
    for flow, job in jobs:
        error = refusal(flow, job)
        assert error.code == code, (flow.name, error)
        assert str(home) not in str(error)


@pytest.fixture(scope="module")
def reference(maker):
    """The transcript of the master's sound, to which the other forms are compared."""
    return {}


@pytest.mark.parametrize("name", corpus.SOUNDS)
def test_an_odd_sound_is_heard_by_recognizer_lips_and_audience(name, home, given, maker, reference):
    image = home / "anna.jpg"
    image.write_bytes((ASSETS / "astronaut.jpg").read_bytes())
    if not reference:
        plain = given(lambda m: m.ffmpeg("plain.wav", "-vn"))
        reference["text"] = transcribe(TranscribeJob(audio=f"file://{plain}", language="en")).text
    uri = f"file://{given(corpus.SOUNDS[name])}"

    said = transcribe(TranscribeJob(audio=uri, language="en"))
    assert said.duration_s == pytest.approx(3.0, abs=0.15)
    # telephone speech is understood less well than the master
    assert word_error_rate([(reference["text"], said.text)]) <= (0.5 if name == "AMR" else 0.34), said.text

    result = portrait(PortraitJob(image=f"file://{image}", audio=uri, engine="viseme", idle_motion=False))
    assert not {"no_speech", "silent_sound"} & codes(result)
    _, _, picture_s, sound_s = streams_of(stored(home, result.video))
    assert picture_s == pytest.approx(said.duration_s, abs=2 * FRAME_S)
    assert sound_s == pytest.approx(picture_s, abs=FRAME_S + 0.03)
    assert beep_time(stored(home, result.video)) == pytest.approx(1.0, abs=0.06)


STILLS = {
    "EXIF turned": ("RGB", "JPEG", {"exif": 6}),
    "EXIF mirrored": ("RGB", "JPEG", {"exif": 2}),
    "CMYK": ("CMYK", "JPEG", {}),
    "alpha": ("RGBA", "PNG", {}),
    "palette": ("P", "PNG", {}),
    "lossless WebP": ("RGB", "WEBP", {"lossless": True}),
}
"""Mode, format and options of a picture."""


@pytest.mark.parametrize("name", STILLS)
def test_an_odd_picture_is_shown_upright_and_in_its_colors(name, home):
    mode, format_, options = STILLS[name]
    image = Image.open(ASSETS / "astronaut.jpg").resize((512, 512))
    colors = [(220, 220, 220), *COLORS.values()]
    for (x, y), color in zip(((0, 0), (440, 0), (440, 440), (0, 440)), colors, strict=True):
        image.paste(color, (x, y, x + 72, y + 72))
    # the file stores the picture so that its tag turns it back
    turn = {6: Image.Transpose.ROTATE_90, 2: Image.Transpose.FLIP_LEFT_RIGHT}.get(options.get("exif"))
    if turn is not None:
        image = image.transpose(turn)
        exif = Image.Exif()
        exif[0x0112] = options["exif"]
        options = {"exif": exif}
    path = home / "odd"
    image.convert(mode).save(path, format_, **({"quality": 95} if format_ == "JPEG" else {}), **options)
    (home / "hello.wav").write_bytes(next(ASSETS.glob("sense*0870.wav")).read_bytes())

    result = portrait(
        PortraitJob(
            image=f"file://{path}", audio=f"file://{home}/hello.wav", engine="fake", idle_motion=False
        )
    )
    shown = corner_colors(stored(home, result.video))
    for color, seen in zip(colors, shown, strict=True):
        assert np.abs(seen - color).max() <= 20, (color, seen)
