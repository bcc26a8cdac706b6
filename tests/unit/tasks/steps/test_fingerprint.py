"""Fingerprints of damaged and hostile files: parts that cannot be read are empty, and nothing is raised."""

import random
from pathlib import Path

import pytest

from tasks.settings import get_settings
from tasks.steps import fingerprint
from tasks.steps.fingerprint import fingerprint_of

ASSETS = Path(__file__).resolve().parents[3] / "assets"
SPEECH = next(ASSETS.glob("sense*.wav"))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSETALK_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.parametrize("source", [SPEECH, ASSETS / "astronaut.jpg"])
def test_damaged_files_raise_nothing(tmp_path, source):
    chance = random.Random(3)
    whole = source.read_bytes()[:60_000]
    for _ in range(20):
        content = bytearray(whole[: chance.randrange(1, len(whole))])
        for _ in range(chance.choice((0, 5, 200))):
            content[chance.randrange(min(len(content), 400))] = chance.randrange(256)
        path = tmp_path / f"damaged{source.suffix}"
        path.write_bytes(content)
        fingerprint_of(path)


def test_an_error_of_ffmpeg_leaves_a_part_empty(monkeypatch):
    from av.error import ArgumentError

    def refuse(*_):
        raise ArgumentError(22, "Invalid argument")

    whole = fingerprint_of(SPEECH)
    monkeypatch.setattr(fingerprint, "sound_words", refuse)
    damaged = fingerprint_of(SPEECH)
    assert whole.sound.any() and not damaged.sound.any()
