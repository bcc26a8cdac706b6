"""Warnings with stable codes: each job type that meets odd media says so, in the result and on its page."""

import wave

import av
import cv2
import numpy as np
import pytest
from pictures import group
from PIL import Image
from shown import artifacts_of

from flows.analyze import analyze
from flows.caption import caption
from flows.lip_sync import lip_sync
from flows.portrait import portrait
from flows.prepare_avatar import prepare_avatar
from flows.schemas.analyze import AnalyzeJob
from flows.schemas.caption import CaptionJob
from flows.schemas.transcribe import TranscribeJob
from flows.schemas.video import LipSyncJob, PortraitJob, PrepareAvatarJob
from flows.transcribe import transcribe
from musetalk_core.formats.float_rows import Float32RowFile
from musetalk_core.warning_codes import WarningCode
from tasks.cache.artefacts import artefact_cache

SPEECH_S = 3


def uri(path):
    return f"file://{path}"


def codes(result):
    return [text.split(":")[0] for text in result.warnings]


def sound_file(path, samples, rate=16_000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes())
    return path


@pytest.fixture
def noise_file(home):
    noise = 0.2 * np.random.default_rng(0).standard_normal(32_000)
    return sound_file(home / "noise.wav", noise)


def mouth_openings():
    """The (T,) opening of the mouth in the only features that were computed."""
    folders = [path.parent for path in artefact_cache().folder.rglob("rows.f32")]
    (folder,) = folders
    rows = Float32RowFile.open(folder)
    return rows.read(0, rows.count)[:, 0]


def test_noise_keeps_the_mouth_closed_and_is_told(home, portrait_file, noise_file):
    result = lip_sync(LipSyncJob(video=uri(portrait_file), audio=uri(noise_file), engine="viseme"))
    assert codes(result) == ["no_speech"]
    assert result.phones == "none"
    assert mouth_openings().max() < 0.05


def breath():
    """Four seconds of breathing: noise around 900 Hz that swells and falls."""
    random, seconds = np.random.default_rng(1), np.arange(64_000) / 16_000
    spectrum = np.fft.rfft(random.standard_normal(len(seconds)))
    hertz = np.maximum(np.fft.rfftfreq(len(seconds), 1 / 16_000), 1)
    sound = np.fft.irfft(spectrum * np.exp(-(np.log2(hertz / 900) ** 2) / 2), len(seconds))
    return 0.05 * sound / sound.std() * np.clip(np.sin(np.pi * seconds), 0, 1) ** 0.7


def cough():
    """Three bursts of noise over a short hum."""
    random, seconds = np.random.default_rng(2), np.arange(48_000) / 16_000
    sound = np.zeros(len(seconds))
    for start in (0.6, 0.95, 1.9):
        after = np.clip(seconds - start, 0, None)
        burst = 0.6 * random.standard_normal(len(seconds)) + 0.3 * np.sin(2 * np.pi * 180 * after)
        sound += np.exp(-after / 0.06) * np.clip(after / 0.004, 0, 1) * burst
    return 0.5 * sound


def music():
    """Five seconds of plucked chords."""
    seconds = np.arange(80_000) / 16_000
    sound = np.zeros(len(seconds))
    for number in range(20):
        pitch = (220, 277.2, 329.6, 440, 329.6, 277.2)[number % 6]
        after = np.clip(seconds - 0.25 * number, 0, None)
        tone = sum(np.sin(2 * np.pi * pitch * harmonic * after) / harmonic for harmonic in (1, 2, 3))
        sound += np.exp(-after / 0.3) * (after > 0) * tone
    return 0.12 * sound


@pytest.mark.parametrize("make", [breath, cough, music])
def test_sounds_without_words_keep_the_mouth_closed_and_still(make, home, portrait_file):
    sound = sound_file(home / "sound.wav", make())

    result = lip_sync(LipSyncJob(video=uri(portrait_file), audio=uri(sound), engine="viseme"))

    assert codes(result) == ["no_speech"]
    assert result.phones == "none"
    assert mouth_openings().max() < 0.05


def test_every_job_that_hears_tells_that_there_is_no_speech(home, portrait_file, noise_file):
    still = portrait(PortraitJob(image=uri(portrait_file), audio=uri(noise_file), engine="fake"))
    text = transcribe(TranscribeJob(audio=uri(noise_file)))
    assert "no_speech" in codes(still)
    assert "no_speech" in codes(text)


def test_speech_opens_the_mouth_and_needs_no_warning(home, portrait_file, speech_file):
    result = lip_sync(LipSyncJob(video=uri(portrait_file), audio=uri(speech_file), engine="viseme"))
    assert codes(result) == []
    assert mouth_openings().max() > 0.3


def test_overdriven_and_silent_sound_are_told(home, portrait_file, speech_file):
    with wave.open(str(speech_file)) as file:
        pcm = np.frombuffer(file.readframes(32_000), "<i2") / 32_768
    loud = sound_file(home / "loud.wav", 40 * pcm)
    silent = sound_file(home / "silent.wav", np.zeros(16_000))
    job = LipSyncJob(video=uri(portrait_file), audio=uri(loud), engine="fake")
    assert "clipped_sound" in codes(lip_sync(job))
    job = LipSyncJob(video=uri(portrait_file), audio=uri(silent), engine="fake")
    assert codes(lip_sync(job)) == ["silent_sound", "no_speech"]


def test_a_text_in_another_script_is_told(home, portrait_file, speech_file):
    job = LipSyncJob(video=uri(portrait_file), audio=uri(speech_file), text="你好世界今天天气很好")
    assert "language_not_supported" in codes(lip_sync(job))


def test_several_faces_are_listed_with_the_way_to_choose(home, speech_file):
    picture, _ = group()
    picture.save(home / "group.png")
    result = prepare_avatar(PrepareAvatarJob(video=uri(home / "group.png"), engine="viseme"))
    (warning,) = [text for text in result.warnings if text.startswith("several_faces: ")]
    assert "shows 5 faces and face 0 is used" in warning or "faces and face 0 is used" in warning
    assert "set face to its number, left, right or most_central" in warning
    chosen = prepare_avatar(PrepareAvatarJob(video=uri(home / "group.png"), engine="viseme", face=1))
    assert "several_faces" not in codes(chosen)
    animated = portrait(PortraitJob(image=uri(home / "group.png"), audio=uri(speech_file), engine="fake"))
    assert "several_faces" in codes(animated)


def test_small_faces_and_pictures_are_told(home, portrait_file):
    small = cv2.resize(cv2.imread(str(portrait_file)), (200, 200), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(home / "small.png"), small)
    result = prepare_avatar(PrepareAvatarJob(video=uri(home / "small.png"), engine="viseme"))
    assert codes(result) == ["tiny_face", "low_resolution"]
    assert codes(analyze(AnalyzeJob(image=uri(home / "small.png"), features=("faces",)))) == [
        "low_resolution"
    ]


def test_an_animated_picture_is_told(home, portrait_file):
    image = Image.open(portrait_file).convert("RGB")
    image.save(home / "moving.webp", save_all=True, append_images=[image.rotate(4)], duration=100)
    result = prepare_avatar(PrepareAvatarJob(video=uri(home / "moving.webp"), engine="viseme"))
    assert codes(result) == ["first_frame_only"]


def test_captions_tell_a_guessed_encoding_and_the_length_of_what_was_made(home, clip_file):
    words = "1\n00:00:00,000 --> 00:00:02,000\nGrüße\n"
    (home / "c.srt").write_bytes(words.encode("cp1252"))
    job = CaptionJob(video=uri(clip_file), captions=uri(home / "c.srt"))
    state = caption(job, return_state=True)
    result = state.result()
    assert codes(result) == ["guessed_encoding"]
    assert abs(result.duration_s - 2) < 0.05
    assert "guessed_encoding" in artifacts_of(state)["warnings"].data
    named = caption(job.model_copy(update={"encoding": "cp1252"}))
    assert codes(named) == []


def test_a_slow_clip_is_rendered_at_a_usual_rate(home, portrait_file, speech_file):
    image = cv2.imread(str(portrait_file))
    with av.open(str(home / "slow.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = 512, 512, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        container.mux(stream.encode())
    result = lip_sync(LipSyncJob(video=uri(home / "slow.mp4"), audio=uri(speech_file), engine="fake"))
    assert codes(result) == ["low_frame_rate"]
    assert (result.fps, result.frames) == ("25", 25 * SPEECH_S)


def test_every_code_is_a_lower_case_word_with_a_meaning():
    for code in WarningCode:
        assert code.value.replace("_", "").isalpha() and code.value.islower()
        assert code.meaning.endswith(".")
        assert code("something") == f"{code.value}: something"
