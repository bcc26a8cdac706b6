"""Preview of a finished video: a contact sheet and a lip-sync score, computed within a time limit."""

import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from musetalk_core import sync
from musetalk_core.analysis.drawing import jpeg
from musetalk_core.faces.following import FaceChoice
from musetalk_core.media.decoder import opened_decoder
from musetalk_core.media.limits import Limits
from musetalk_core.media.normalise import Normaliser
from musetalk_core.media.picture import Picture
from musetalk_core.media.strip import strip
from musetalk_core.speech.curves import curves
from musetalk_core.speech.phones import Phone
from tasks.artefacts import artefacts, content_key
from tasks.encode import VIDEO_FILE
from tasks.refs import Artefact

PREVIEW: Final = "preview"
_STRIP, _FACTS = "strip.jpg", "facts.json"
_VERSION: Final = 1
STRIP_S, LIPS_S = 1.0, 1.5
"""Approximate time limits: of the contact sheet, and of reading frames for the lip-sync score."""
_LEAST_S, _MOST_S = 2.0, 8.0
"""Seconds of speech to measure: a correlation is meaningless below the minimum; more add nothing."""


class Followed(BaseModel):
    """
    Lip-sync score of the first seconds of speech in a video.

    Attributes:
        correlation: correlation of lip aperture and phonemes, -1 to 1; see the core's lip-sync score.
        backwards:   correlation with the phonemes reversed in time: the baseline of any moving mouth.
        lag_frames:  delay of the mouth in frames; positive if the mouth is late.
        seconds:     duration of the measured part.
    """

    model_config = ConfigDict(frozen=True)

    correlation: float
    backwards: float
    lag_frames: int
    seconds: float


class Preview(BaseModel):
    """A contact sheet as JPEG, and the lip-sync score; None without phonemes or if the time limit passed."""

    model_config = ConfigDict(frozen=True)

    jpeg: bytes
    followed: Followed | None


def preview(video: Artefact, phones: Sequence[Phone], rate: Fraction, face: FaceChoice) -> Preview:
    """
    Create the preview of a finished video; cached by the video.

    Args:
        video:  cache entry of the video.
        phones: the timed phonemes of its speech; empty to skip the lip-sync score.
        rate:   frames per second.
        face:   which face to measure.

    Raises:
        MediaUnreadable: the video cannot be read.
    """

    def make(folder: Path) -> None:
        source = artefacts().file(video, VIDEO_FILE)
        (folder / _STRIP).write_bytes(jpeg(strip(source, limit_s=STRIP_S)))
        found = _followed(source, phones, rate, face)
        (folder / _FACTS).write_text(found.model_dump_json() if found else "null")

    key = content_key(kind=PREVIEW, version=_VERSION, video=video.key, face=face)
    folder = artefacts().path(artefacts().made_once(PREVIEW, key, make, shared=False))
    facts = (folder / _FACTS).read_text()
    return Preview(
        jpeg=(folder / _STRIP).read_bytes(),
        followed=None if facts == "null" else Followed.model_validate_json(facts),
    )


def _followed(source: Path, phones: Sequence[Phone], rate: Fraction, face: FaceChoice) -> Followed | None:
    spoken = [phone for phone in phones if phone.name]
    if not spoken:
        return None
    first = floor(spoken[0].start_s * rate)
    measured = sync.apertures(_pictures(source, first, int(_MOST_S * rate)), face)
    if len(measured) < _LEAST_S * rate:
        return None
    start_s = float(first / rate)
    own = [Phone(p.start_s - start_s, p.end_s - start_s, p.name) for p in phones if p.end_s > start_s]
    openness = curves(None, own, len(measured), rate)[:, 0]
    right, wrong = sync.sync_score(measured, openness), sync.sync_score(measured, openness[::-1])
    return Followed(
        correlation=right.correlation,
        backwards=wrong.correlation,
        lag_frames=right.lag_frames,
        seconds=float(len(measured) / rate),
    )


def _pictures(source: Path, first: int, most: int) -> Iterator[Picture]:
    """Yield at most `max_frames` pictures from index `first` on, until the time limit passes."""
    deadline = time.monotonic() + LIPS_S
    with opened_decoder(source, Limits()) as decoder:
        normaliser: Normaliser | None = None
        for number, frame in enumerate(decoder.frames()):
            if number >= first + most or time.monotonic() > deadline:
                return
            if number >= first:
                normaliser = normaliser or Normaliser(frame, None)
                yield normaliser.picture(frame)
