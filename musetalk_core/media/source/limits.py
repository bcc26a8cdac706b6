"""Limits on input media, checked against file headers before anything is decoded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """
    Upper limits on one input file.

    Attributes:
        video_pixels:  pixels of one video frame, as stored and as shown.
        still_pixels:  pixels of a still image.
        seconds:       duration of a video or an audio track in seconds.
        frame_pixels:  frames times pixels per frame; the default is about 27 minutes of 1080p at 60 frames
            per second.
        streams:       decodable streams in one container.
        rate_hz:       frames per second to render at; faster sources are rendered at less.
        video_bytes:   size of a video file in bytes.
        audio_bytes:   size of an audio file in bytes.
        still_bytes:   size of an image file in bytes.
    """

    video_pixels: int = 4096 * 4096
    still_pixels: int = 50_000_000
    seconds: int = 3600
    frame_pixels: int = 200_000_000_000
    streams: int = 8
    rate_hz: int = 120
    video_bytes: int = 2_000_000_000
    audio_bytes: int = 200_000_000
    still_bytes: int = 30_000_000
