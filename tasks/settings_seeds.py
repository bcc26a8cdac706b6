"""Settings by the names that the two older services had for them."""

from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

SEED_NAMES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("api", "host"): ("API_HOST",),
    ("api", "port"): ("API_PORT", "PORT"),
    ("compat", "max_time"): ("DEFAULT_MAX_TIME",),
    ("compat", "complete_in"): ("DEFAULT_COMPLETE_IN",),
    ("redis", "host"): ("REDIS_HOST",),
    ("redis", "port"): ("REDIS_PORT",),
    ("redis", "username"): ("REDIS_USERNAME",),
    ("redis", "password"): ("REDIS_PASSWORD",),
    ("redis", "db"): ("REDIS_DB",),
}
"""(group, field) -> names, the first one set wins."""


class SeedNames(PydanticBaseSettingsSource):
    """What the older names give."""

    def __init__(self, settings_cls: type[BaseSettings], environment: Mapping[str, str]) -> None:
        """
        Take an environment; it is read when the settings are.

        Args:
            settings_cls: root of the settings.
            environment:  where to look.
        """
        super().__init__(settings_cls)
        self._environment = environment

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing field by field: `__call__` gives all at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Collect the values that are set."""
        found: dict[str, dict[str, str]] = {}
        for (group, field), names in SEED_NAMES.items():
            if value := next(filter(None, map(self._value, names)), ""):
                found.setdefault(group, {})[field] = value
        return dict(found)

    def _value(self, name: str) -> str:
        """Give a variable's value."""
        value = self._environment.get(name, "")
        # Kubernetes sets REDIS_PORT=tcp://… by itself where a service is called redis
        return "" if name.endswith("PORT") and "://" in value else value
