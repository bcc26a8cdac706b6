"""Whatever rate, shape or rotation comes in: picture and sound end together and do not drift apart."""

import subprocess
import wave
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from musetalk_core.avatar import archive, prepare
from musetalk_core.engine_registry import load_engine
from musetalk_core.formats.chunk_crops import CropReader
from musetalk_core.formats.float_rows import Float32RowArray
from musetalk_core.formats.pcm import PcmFile
from musetalk_core.media.audio.decode import decode_speech
from musetalk_core.media.output.ffmpeg import find_ffmpeg
from musetalk_core.media.output.mux import join_chunks
from musetalk_core.media.output.video_encoder import VideoEncoder
from musetalk_core.rendering.chunking import plan_chunks
from musetalk_core.rendering.compose import compose
from musetalk_core.rendering.render_chunk import Scene, render_chunk

SECONDS, CHUNK_S = 8, 3
RATES = ["25", "24000/1001", "60"]
RATES += [pytest.param(rate, marks=pytest.mark.slow) for rate in ("24", "30000/1001", "30", "50")]
FLASHES_S = (1, 7)
CLICK_HZ = 48_000


def picture(portrait, width, height, flash):
    """The portrait with a corner that is black, or white in a flash."""
    out = cv2.resize(portrait, (width, height), interpolation=cv2.INTER_AREA)
    out[: height // 8, : width // 8] = 255 if flash else 0
    return out


def flashing_clip(path, portrait, rate, times, width=240, height=240, lying=False):
    """A clip with frames at these times (in frames of `rate`); gives the two moments the corner lights up."""
    rate = Fraction(rate)
    lit = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = (
            width,
            height,
            "yuv444p" if (width | height) % 2 else "yuv420p",
        )
        stream.time_base = 1 / rate
        for number in times:
            shown = number / rate
            flash = any(moment <= shown < moment + Fraction(1, 4) for moment in FLASHES_S)
            if flash and (not lit or shown - lit[-1] > 1):
                lit.append(shown)
            image = picture(portrait, width, height, flash)
            stored = np.rot90(image, -1).copy() if lying else image
            frame = av.VideoFrame.from_ndarray(stored, "bgr24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return lit


def clicks(path, moments):
    samples = np.zeros(SECONDS * CLICK_HZ, np.int16)
    for moment in moments:
        at = round(moment * CLICK_HZ)
        samples[at : at + 480] = 20_000
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(CLICK_HZ)
        out.writeframes(samples.tobytes())
    return path


def job(source, sound, folder, rate=None):
    """Everything from a source and a sound to a finished file, in chunks."""
    engine = load_engine("fake")
    (folder / "avatar").mkdir()
    prepare.prepare_avatar(prepare.AvatarRequest(source, "0" * 64), engine, folder / "avatar")
    made = archive.load_avatar(folder / "avatar")
    decode_speech(sound, folder / "speech.f32")
    samples = PcmFile(folder / "speech.f32")
    work = plan_chunks(samples.count, rate or made.rate, CHUNK_S)
    features = Float32RowArray.from_blocks(engine.encode_audio(samples, work.frames, work.rate, None))
    scene, clips = Scene(made, source, work.rate), []
    for chunk in work.chunks:
        place = folder / f"chunk{chunk.number}"
        place.mkdir()
        render_chunk(scene, engine, features, chunk, place)
        clips.append(place / "clip.mp4")
        with VideoEncoder(clips[-1], made.manifest.width, made.manifest.height, work.rate) as encoder:
            for shown in compose(scene, engine, CropReader.open(place), chunk):
                encoder.write(shown)
    join_chunks(clips, sound, folder / "out.mp4", rate=work.rate)
    return folder / "out.mp4", work


def onsets(path):
    """Moments at which the corner lights up, and at which clicks begin, by the file's own timestamps."""
    lit, heard, dark, silent = [], [], True, 0.0
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            corner = frame.to_ndarray(format="gray")
            bright = corner[: corner.shape[0] // 10, : corner.shape[1] // 10].mean() > 128
            if bright and dark:
                lit.append(float(frame.time))
            dark = not bright
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.2)
            for at in frame.time + loud / frame.sample_rate:
                if not heard or at - silent > 1:
                    heard.append(float(at))
                silent = at
    return lit, heard


def check_lengths(path, work):
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.frames == work.frames
        assert video.average_rate == work.rate
        difference = abs(video.duration * video.time_base - audio.duration * audio.time_base)
    assert difference <= 1 / work.rate


def check_drift(path, work):
    lit, heard = onsets(path)
    assert len(lit) == len(heard) == 2, (lit, heard)
    offsets = [a - b for a, b in zip(lit, heard, strict=True)]
    assert abs(offsets[1] - offsets[0]) <= 0.020, offsets
    assert abs(offsets[0]) <= 1 / work.rate, offsets


@pytest.mark.parametrize("rate", RATES)
def test_a_constant_rate_is_kept_and_does_not_drift(rate, portrait, tmp_path):
    source = tmp_path / "source.mp4"
    lit = flashing_clip(source, portrait, rate, range(int(SECONDS * Fraction(rate))))

    path, work = job(source, clicks(tmp_path / "clicks.wav", lit), tmp_path)

    assert work.rate == Fraction(rate)
    check_lengths(path, work)
    check_drift(path, work)


def test_a_varying_rate_keeps_its_speed(portrait, tmp_path):
    rng = np.random.default_rng(1)
    frames = [n for n in range(SECONDS * 60) if n % 60 in (0, 15) or rng.random() < 0.45]
    source = tmp_path / "source.mp4"
    lit = flashing_clip(source, portrait, "60", frames)

    path, work = job(source, clicks(tmp_path / "clicks.wav", lit), tmp_path)

    check_lengths(path, work)
    check_drift(path, work)


@pytest.mark.parametrize(
    "size", [(239, 241), *(pytest.param(size, marks=pytest.mark.slow) for size in ((241, 240), (240, 241)))]
)
def test_odd_sizes_are_padded_not_refused(size, portrait, tmp_path):
    source = tmp_path / "source.mp4"
    lit = flashing_clip(source, portrait, "25", range(SECONDS * 25), *size)

    path, work = job(source, clicks(tmp_path / "clicks.wav", lit), tmp_path)

    check_lengths(path, work)
    check_drift(path, work)
    with av.open(str(path)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (
            size[0] + size[0] % 2,
            size[1] + size[1] % 2,
        )


def test_a_phone_video_on_its_side_is_turned_upright(portrait, tmp_path):
    lying, source = tmp_path / "lying.mp4", tmp_path / "source.mp4"
    lit = flashing_clip(lying, portrait, "30", range(SECONDS * 30), lying=True)
    command = [find_ffmpeg(None), "-v", "error", "-nostdin", "-display_rotation", "90", "-i", lying]
    subprocess.run([*command, "-c", "copy", source], check=True)

    path, work = job(source, clicks(tmp_path / "clicks.wav", lit), tmp_path)

    check_lengths(path, work)
    check_drift(path, work)  # the flash is seen in the corner where it was before the turn


def test_a_still_holds_for_the_length_of_the_speech(portrait, tmp_path):
    cv2.imwrite(str(tmp_path / "still.png"), cv2.resize(portrait, (240, 240)))

    path, work = job(tmp_path / "still.png", clicks(tmp_path / "clicks.wav", [1, 7]), tmp_path)

    assert work.rate == 25
    check_lengths(path, work)


def test_another_output_rate_may_be_asked_for(portrait, tmp_path):
    source = tmp_path / "source.mp4"
    lit = flashing_clip(source, portrait, "30", range(SECONDS * 30))

    path, work = job(source, clicks(tmp_path / "clicks.wav", lit), tmp_path, Fraction(24000, 1001))

    check_lengths(path, work)
    lit_at, heard = onsets(path)
    assert np.abs(np.subtract(lit_at, heard)).max() <= 1 / work.rate
