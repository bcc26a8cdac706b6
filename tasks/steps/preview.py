"""Preview of a finished video: a contact sheet and a lip-sync score, computed within a time limit."""

import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from musetalk_core.faces.tracker_protocol import FaceChoice
from musetalk_core.media.image.jpeg import encode_jpeg
from musetalk_core.media.image.normalise import Normaliser
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.video.contact_sheet import contact_sheet
from musetalk_core.media.video.decoder import open_decoder
from musetalk_core.quality import lip_sync_score
from musetalk_core.speech.mouth_curves import mouth_curves
from musetalk_core.speech.phones import Phone
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.refs import Artefact
from tasks.steps.encode_video import VIDEO_FILE

PREVIEW_KIND: Final = "preview"
_CONTACT_SHEET_FILE, _SCORE_FILE = "strip.jpg", "facts.json"
_VERSION: Final = 2
CONTACT_SHEET_LIMIT_S, LIP_SYNC_LIMIT_S = 1.0, 1.5
"""Approximate time limits: of the contact sheet, and of reading frames for the lip-sync score."""
_MIN_SPEECH_S, _MAX_SPEECH_S = 2.0, 8.0
"""Seconds of speech to measure: a correlation is meaningless below the minimum; more add nothing."""


class LipSyncScore(BaseModel):
    """
    Lip-sync score of the first seconds of speech in a video.

    Attributes:
        correlation: correlation of lip aperture and phonemes, -1 to 1; see the core's lip-sync score.
        backwards:   correlation with the phonemes reversed in time: the baseline of any moving mouth.
        movement:    share 0 to 1 of the lip movement that speech has; 1 in previews of earlier versions.
        lag_frames:  delay of the mouth in frames; positive if the mouth is late.
        seconds:     duration of the measured part.
    """

    model_config = ConfigDict(frozen=True)

    correlation: float
    backwards: float
    lag_frames: int
    seconds: float
    movement: float = 1.0


class Preview(BaseModel):
    """A contact sheet as JPEG, and the lip-sync score; None without phonemes or if the time limit passed."""

    model_config = ConfigDict(frozen=True)

    jpeg: bytes
    followed: LipSyncScore | None


def create_preview(video: Artefact, phones: Sequence[Phone], rate: Fraction, face: FaceChoice) -> Preview:
    """
    Create the preview of a finished video; cached by all arguments, unless a time limit cut it short.

    Args:
        video:  cache entry of the video.
        phones: the timed phonemes of its speech; empty to skip the lip-sync score.
        rate:   frames per second.
        face:   which face to measure.

    Raises:
        MediaUnreadable: the video cannot be read.
    """
    key = content_key(
        kind=PREVIEW_KIND,
        version=_VERSION,
        video=video.key,
        phones=[list(phone) for phone in phones],
        rate=rate,
        face=face,
    )
    cached = artefact_cache().find(PREVIEW_KIND, key)
    if cached is not None:
        return _read_preview(artefact_cache().path(cached))
    source = artefact_cache().file(video, VIDEO_FILE)
    sheet_limit = _TimeLimit(CONTACT_SHEET_LIMIT_S)
    sheet = contact_sheet(source, time_budget_s=CONTACT_SHEET_LIMIT_S)
    sheet_is_whole = not sheet_limit.has_passed
    score_limit = _TimeLimit(LIP_SYNC_LIMIT_S)
    preview = Preview(
        jpeg=encode_jpeg(sheet), followed=_measure_lip_sync(source, phones, rate, face, score_limit)
    )
    if sheet_is_whole and not score_limit.has_cut_short:
        artefact_cache().get_or_create(
            PREVIEW_KIND, key, lambda folder: _write_preview(preview, folder), shared=False
        )
    return preview


def _write_preview(preview: Preview, folder: Path) -> None:
    (folder / _CONTACT_SHEET_FILE).write_bytes(preview.jpeg)
    (folder / _SCORE_FILE).write_text(preview.followed.model_dump_json() if preview.followed else "null")


def _read_preview(folder: Path) -> Preview:
    facts = (folder / _SCORE_FILE).read_text()
    return Preview(
        jpeg=(folder / _CONTACT_SHEET_FILE).read_bytes(),
        followed=None if facts == "null" else LipSyncScore.model_validate_json(facts),
    )


class _TimeLimit:
    """A time limit, which remembers whether work was cut short by it."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self.has_cut_short = False

    @property
    def has_passed(self) -> bool:
        return time.monotonic() > self._deadline


def _measure_lip_sync(
    source: Path, phones: Sequence[Phone], rate: Fraction, face: FaceChoice, limit: _TimeLimit
) -> LipSyncScore | None:
    voiced_phones = [phone for phone in phones if phone.name]
    if not voiced_phones:
        return None
    first = floor(voiced_phones[0].start_s * rate)
    pictures = _read_pictures(source, first, int(_MAX_SPEECH_S * rate), limit)
    apertures = lip_sync_score.lip_apertures(pictures, face)
    if len(apertures) < _MIN_SPEECH_S * rate:
        return None
    start_s = float(first / rate)
    shifted_phones = [
        Phone(p.start_s - start_s, p.end_s - start_s, p.name) for p in phones if p.end_s > start_s
    ]
    openness = mouth_curves(None, shifted_phones, len(apertures), rate)[:, 0]
    forward_score, reversed_score = (
        lip_sync_score.sync_score(apertures, openness),
        lip_sync_score.sync_score(apertures, openness[::-1]),
    )
    return LipSyncScore(
        correlation=forward_score.correlation,
        backwards=reversed_score.correlation,
        lag_frames=forward_score.lag_frames,
        seconds=float(len(apertures) / rate),
        movement=lip_sync_score.movement_share(apertures),
    )


def _read_pictures(source: Path, first: int, max_frames: int, limit: _TimeLimit) -> Iterator[Picture]:
    """Yield at most `max_frames` pictures from index `first` on, until the time limit passes."""
    with open_decoder(source, MediaLimits()) as decoder:
        normaliser: Normaliser | None = None
        for number, frame in enumerate(decoder.frames()):
            if number >= first + max_frames:
                return
            if limit.has_passed:
                limit.has_cut_short = True
                return
            if number >= first:
                normaliser = normaliser or Normaliser(frame, None)
                yield normaliser.to_picture(frame)
