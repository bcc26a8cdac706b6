"""Limits on input media (size, duration, pixels), from the settings."""

from musetalk_core.media.source.limits import MediaLimits
from tasks.settings import get_settings


def media_limits() -> MediaLimits:
    """Return the core's media limits; the settings use the same field names."""
    return MediaLimits(**get_settings().media.model_dump(exclude={"ffmpeg"}))
