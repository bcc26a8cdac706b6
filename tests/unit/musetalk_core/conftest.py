"""A real face and a real voice, both in the public domain; see tests/assets/README.md."""

import wave
from pathlib import Path

import cv2
import numpy as np
import pytest

from musetalk_core.faces.face_finder import find_faces
from musetalk_core.formats.pcm import PcmArray
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.types import Float, Image

ASSETS = Path(__file__).resolve().parents[2] / "assets"
READING = ASSETS / "sense_and_sensibility_01_austen_64kb-0870.wav"


@pytest.fixture(scope="session")
def portrait() -> Image:
    """(512, 512, 3) uint8 BGR, one face."""
    return np.asarray(cv2.imread(str(ASSETS / "astronaut.jpg")), np.uint8)


@pytest.fixture(scope="session")
def portrait_mesh(portrait: Image) -> Float:
    """(468, 2) float32 of that face."""
    return find_faces(Picture.from_bgr(portrait))[0].landmarks


@pytest.fixture(scope="session")
def reading() -> PcmArray:
    """7.1 s of speech."""
    with wave.open(str(READING)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return PcmArray((pcm / 32768).astype(np.float32))


@pytest.fixture(scope="session")
def reading_text() -> str:
    """Its words."""
    return READING.with_suffix(".txt").read_text()
