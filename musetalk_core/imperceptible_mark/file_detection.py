"""Detect the imperceptible mark in a media file."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from musetalk_core.errors import NoAudioFound
from musetalk_core.formats.pcm import PcmFile
from musetalk_core.imperceptible_mark.evidence import Evidence, strongest
from musetalk_core.imperceptible_mark.key import MarkKey
from musetalk_core.imperceptible_mark.picture_detector import PictureMean, detect_in_pictures
from musetalk_core.imperceptible_mark.sound_detector import SoundDetector
from musetalk_core.media.audio.decode import decode_speech
from musetalk_core.media.probe import probe
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.video.scan import open_scan

_PART_S: Final = 5
MAX_VIDEO_S: Final = 60
"""Only so much of a video is decoded: the mark of a video is in all of its frames."""
_FRAMES_PER_S: Final = 6
"""Frames of which the mean is made. More do not help: neighboring frames have nearly the same errors."""


@dataclass(frozen=True, slots=True)
class MarkReport:
    """
    Marks in a file.

    Attributes:
        picture: evidence for a mark in the video or image; None if the file has none.
        sound:   evidence for a mark in the sound; None if the file has none.
        key_id:  id of the key whose mark was found; None if no mark was found.
    """

    picture: Evidence | None
    sound: Evidence | None
    key_id: str | None

    @property
    def found(self) -> bool:
        """Whether picture or sound carry the mark."""
        return self.key_id is not None


def detect_mark(
    path: Path,
    keys: Sequence[MarkKey],
    limits: MediaLimits = MediaLimits(),  # noqa: B008  frozen
) -> MarkReport:
    """
    Search a video, an image or a sound file for the marks of some keys.

    Args:
        path:   a media file. The first `MAX_VIDEO_S` seconds of a video and all of the sound are searched.
        keys:   the keys, at least one.
        limits: checked against the headers and what is decoded.

    Raises:
        MediaUnreadable: the file is damaged or not media.
        MediaTooLarge: the file exceeds a limit.
    """
    info = probe(path, limits)
    means = _picture_means(path, limits) if info.video else None
    sound = _sound_detector(path, limits) if info.audio else None
    picture_results = [detect_in_pictures(means, key) for key in keys] if means else []
    sound_results = [sound.detect(key) for key in keys] if sound else []
    return MarkReport(
        strongest(picture_results) if picture_results else None,
        strongest(sound_results) if sound_results else None,
        _found_key(keys, picture_results) or _found_key(keys, sound_results),
    )


def _found_key(keys: Sequence[MarkKey], results: Sequence[Evidence]) -> str | None:
    """Return the id of the key with the strongest evidence, if that is enough for so many keys."""
    best = strongest(results)
    if not best.found:
        return None
    return next(key.id for key, one in zip(keys, results, strict=True) if one.score == best.score)


def _picture_means(path: Path, limits: MediaLimits) -> list[PictureMean]:
    means: list[PictureMean] = []
    next_s = 0.0
    with open_scan(path, limits) as scan:
        for picture in scan:
            time_s = float(scan.time_s)
            if time_s >= MAX_VIDEO_S:
                break
            if time_s < next_s:
                continue
            next_s = time_s + 1 / _FRAMES_PER_S
            while len(means) <= time_s // _PART_S:
                means.append(PictureMean())
            means[int(time_s // _PART_S)].add(picture.y)
    return means


def _sound_detector(path: Path, limits: MediaLimits) -> SoundDetector | None:
    with tempfile.TemporaryDirectory(prefix="musetalk-mark-") as folder:
        target = Path(folder) / "sound.f32"
        try:
            decode_speech(path, target, limits)
        except NoAudioFound:
            return None
        return SoundDetector(PcmFile(target))
