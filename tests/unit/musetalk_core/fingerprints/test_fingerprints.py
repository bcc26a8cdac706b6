"""Media is found again after it was encoded anew, scaled or trimmed; other media is not."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from musetalk_core.errors import MediaUnreadable, NoAudioFound
from musetalk_core.fingerprints import sound as sound_module
from musetalk_core.fingerprints.matching import MIN_SOUND_WORDS, Fingerprint, match
from musetalk_core.fingerprints.picture import image_hash, picture_hashes
from musetalk_core.fingerprints.sound import sound_words
from musetalk_core.media.output.ffmpeg import find_ffmpeg
from musetalk_core.media.source.limits import MediaLimits

ASSETS = Path(__file__).resolve().parents[3] / "assets"
SPEECH = next(ASSETS.glob("sense*.wav"))
LIMITS = MediaLimits()
NONE = np.zeros(0, np.uint64), np.zeros(0, np.uint32)


def ffmpeg(*words):
    subprocess.run([find_ffmpeg(), "-v", "error", "-y", *map(str, words)], check=True)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Seven seconds of speech before a photo that slowly grows and shrinks."""
    path = tmp_path_factory.mktemp("media") / "source.mp4"
    ffmpeg(
        "-loop", "1", "-i", ASSETS / "astronaut.jpg", "-i", SPEECH, "-shortest",
        "-vf", "scale=320:240,zoompan=z='1+0.1*sin(on/40)':d=1:s=320x240:fps=25",
        "-c:v", "libx264", "-preset", "veryfast", path,
    )  # fmt: skip
    return path


def fingerprint(path):
    try:
        picture = picture_hashes(path, LIMITS)
    except MediaUnreadable:
        picture = NONE[0]
    return Fingerprint(picture, sound_words(path, LIMITS))


@pytest.mark.parametrize(
    ("name", "words", "least"),
    [
        ("crf35.mp4", ("-crf", "35", "-b:a", "96k"), 0.9),
        ("small.mp4", ("-vf", "scale=160:120", "-crf", "28", "-r", "15"), 0.9),
        ("trimmed.mp4", ("-ss", "1.23", "-t", "4"), 0.7),
        ("low.mp3", ("-vn", "-ss", "0.317", "-b:a", "64k"), 0.7),
        ("telephone.wav", ("-vn", "-ar", "8000"), 0.8),
    ],
)
def test_media_that_was_encoded_anew_is_found(source, tmp_path, name, words, least):
    ffmpeg("-i", source, *words, tmp_path / name)
    found = match(fingerprint(tmp_path / name), fingerprint(source))
    assert found is not None and found.confidence >= least
    assert found.sound is not None and (found.picture is None) == (not name.endswith(".mp4"))


def test_other_sound_and_other_pictures_do_not_match(source, tmp_path):
    ffmpeg("-i", SPEECH, "-af", "areverse,asetrate=13000", tmp_path / "other.wav")
    ffmpeg("-f", "lavfi", "-i", "mandelbrot=size=320x240:rate=25", "-t", "3", tmp_path / "other.mp4")
    other = Fingerprint(
        picture_hashes(tmp_path / "other.mp4", LIMITS), sound_words(tmp_path / "other.wav", LIMITS)
    )
    assert match(other, fingerprint(source)) is None


def test_equal_pictures_with_other_sound_count_half(source, tmp_path):
    whole = fingerprint(source)
    random = np.random.default_rng(0).integers(1, 2**32, len(whole.sound), np.uint32)
    found = match(Fingerprint(whole.picture, random), whole)
    assert found is not None
    assert (found.confidence, found.picture, found.sound) == (0.5, 1.0, None)
    muted = match(Fingerprint(whole.picture, NONE[1]), whole)
    assert muted is not None and muted.confidence == 1.0


def test_random_fingerprints_do_not_match():
    random = np.random.default_rng(7)
    known = Fingerprint(NONE[0], random.integers(1, 2**32, 4000, np.uint32))
    for _ in range(50):
        assert match(Fingerprint(NONE[0], random.integers(1, 2**32, 200, np.uint32)), known) is None


def test_silence_flat_pictures_and_short_sounds_match_nothing(tmp_path):
    silence, grey, short = tmp_path / "silence.wav", tmp_path / "grey.mp4", tmp_path / "short.wav"
    ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "5", silence)
    ffmpeg("-f", "lavfi", "-i", "color=gray:size=64x64:rate=5", "-t", "3", grey)
    ffmpeg("-i", SPEECH, "-t", "1", short)
    words = sound_words(silence, LIMITS)
    assert len(words) > MIN_SOUND_WORDS and not words.any()
    assert not picture_hashes(grey, LIMITS).any()
    quiet = Fingerprint(picture_hashes(grey, LIMITS), words)
    assert match(quiet, quiet) is None
    brief = Fingerprint(NONE[0], sound_words(short, LIMITS))
    assert len(brief.sound) > 0 and match(brief, brief) is None
    with pytest.raises(NoAudioFound):
        sound_words(grey, LIMITS)


def test_an_image_that_was_encoded_anew_is_found(tmp_path):
    image, small = ASSETS / "astronaut.jpg", tmp_path / "small.png"
    ffmpeg("-i", image, "-vf", "scale=150:-1", small)
    found = match(
        Fingerprint(image_hash(small, LIMITS), NONE[1]), Fingerprint(image_hash(image, LIMITS), NONE[1])
    )
    assert found is not None and found.confidence > 0.8


def test_long_media_is_read_up_to_the_limit(monkeypatch):
    monkeypatch.setattr(sound_module, "MAX_SECONDS", 2)
    assert len(sound_words(SPEECH, LIMITS)) == (2 * 5512 - 2048) // 256
