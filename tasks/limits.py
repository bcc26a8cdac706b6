"""The operator's limits on media, as the core takes them."""

from musetalk_core.media.limits import Limits
from tasks.settings import get_settings


def limits() -> Limits:
    """Limits from the settings; their fields have the same names."""
    return Limits(**get_settings().media.model_dump(exclude={"ffmpeg"}))
