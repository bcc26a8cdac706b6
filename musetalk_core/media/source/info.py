"""Records that describe a probed media file: container, video or image, audio."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

MediaKind = Literal["video", "still", "audio"]


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """
    The first video stream of a file, or the image of a still.

    Attributes:
        width, height: as shown, in pixels: upright, with square pixels, even.
        rotation:      clockwise rotation from the stored to the shown picture in degrees: 0, 90, 180 or 270.
        rate:          frames per second of the source; if it varies, a standard rate near its average.
        codec:         FFmpeg's codec name, or the format of a still.
        pix_fmt:       FFmpeg's pixel format, or Pillow's mode of a still.
        frames:        number of frames according to the container; None if unknown.
        render_rate:   frames per second to render at.
        warnings:      about rendering the file, each `code: sentence`.
        is_cropped:    the container states a crop, which width and height take into account.
    """

    width: int
    height: int
    rotation: int
    rate: Fraction
    codec: str
    pix_fmt: str
    frames: int | None
    render_rate: Fraction
    warnings: tuple[str, ...] = ()
    is_cropped: bool = False


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """
    The first audio track of a file.

    Attributes:
        codec:       FFmpeg's codec name.
        sample_rate: in Hz.
        channels:    number of channels.
        duration_s:  in seconds; None if the container does not state it.
    """

    codec: str
    sample_rate: int
    channels: int
    duration_s: Fraction | None


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """
    A media file that was recognized and is within its limits.

    Attributes:
        kind:       video, still or audio. A video may also have audio.
        container:  mp4, mov, webm, matroska, mpegts, asf, wav, w64, mp3, flac, ogg, aac, ac3, eac3, dts,
            aiff, caf, amr, au, sphere, wavpack, png, jpeg or webp.
        duration_s: of the video, or of the audio if there is no video; None for a still or if unknown.
        video:      None for an audio file; cover art does not count as video.
        audio:      None if there is no audio track.
    """

    kind: MediaKind
    container: str
    duration_s: Fraction | None
    video: VideoInfo | None
    audio: AudioInfo | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the picture, each `code: sentence`."""
        return self.video.warnings if self.video else ()
