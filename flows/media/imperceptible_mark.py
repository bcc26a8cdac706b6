"""The key with which a job marks its outputs."""

from flows.schemas.label import MarkChoice
from tasks.catalog.mark_keys import mark_keys
from tasks.settings import get_settings

_ENGINE_OF_TESTS = "fake"


def mark_key_id(choice: MarkChoice | None, engine: str | None = None) -> str | None:
    """
    Return the id of the key with which a job marks its output; None = no mark.

    Args:
        choice: option of the job; None = the setting.
        engine: engine that renders the picture; the one for tests marks only if the job asks for it.
    """
    if choice is None:
        choice = "off" if engine == _ENGINE_OF_TESTS else get_settings().mark.imperceptible
    return mark_keys()[0].id if choice == "on" else None
