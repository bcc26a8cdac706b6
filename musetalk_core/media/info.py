"""What probing a media file tells: plain frozen records."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Kind = Literal["video", "still", "audio"]


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """
    The moving or still picture of a file.

    Attributes:
        width, height: as shown: upright, square pixels, even.
        rotation:      degrees clockwise from the stored to the shown picture: 0, 90, 180 or 270.
        rate:          frames per second to render at: the source's own where it is constant.
        codec:         FFmpeg's name, or the format of a still.
        pix_fmt:       FFmpeg's name, or Pillow's mode of a still.
        frames:        how many there should be; None where the container gives no hint.
    """

    width: int
    height: int
    rotation: int
    rate: Fraction
    codec: str
    pix_fmt: str
    frames: int | None


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """
    The first sound track of a file.

    Attributes:
        codec:       FFmpeg's name.
        sample_rate: in Hz.
        channels:    how many.
        duration_s:  in seconds, None where the container gives no hint.
    """

    codec: str
    sample_rate: int
    channels: int
    duration_s: Fraction | None


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """
    A recognised file within its limits.

    Attributes:
        kind:       video, still, or audio; a video may carry sound too.
        container:  mp4, mov, webm, matroska, mpegts, wav, mp3, flac, ogg, aac, png, jpeg or webp.
        duration_s: of the picture, or of the sound where there is no picture; None for a still or if unknown.
        video:      None for sound alone; cover art is no picture.
        audio:      None where there is no sound track.
    """

    kind: Kind
    container: str
    duration_s: Fraction | None
    video: VideoInfo | None
    audio: AudioInfo | None
