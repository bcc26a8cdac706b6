"""Limits on input media (size, duration, pixels), from the settings."""

from musetalk_core.media.limits import Limits
from tasks.settings import get_settings


def limits() -> Limits:
    """Return the core's media limits; the settings use the same field names."""
    return Limits(**get_settings().media.model_dump(exclude={"ffmpeg"}))
