"""Legacy variable names: settings under the names that the two older services used."""

import os
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

LEGACY_NAMES: Mapping[tuple[str, str], tuple[str, ...]] = {
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
"""(group, field) -> legacy names; the first one that is set is used."""


def is_set_by_legacy_name(group: str, field: str, environment: Mapping[str, str] | None = None) -> bool:
    """
    Return whether a setting has its value from a legacy name, and not from its own variable.

    Args:
        group:       group of the setting.
        field:       name in the group.
        environment: the environment variables; None: those of this process.
    """
    variables = os.environ if environment is None else environment  # noqa: TID251  read by settings only
    own_name = f"MUSETALK_{group}__{field}".upper()
    return not variables.get(own_name) and any(variables.get(name) for name in LEGACY_NAMES[group, field])


class LegacyNamesSource(PydanticBaseSettingsSource):
    """A settings source that reads the legacy names."""

    def __init__(self, settings_cls: type[BaseSettings], environment: Mapping[str, str]) -> None:
        """
        Create a source; the environment is read when the settings are created.

        Args:
            settings_cls: class of the settings.
            environment:  the environment variables.
        """
        super().__init__(settings_cls)
        self._environment = environment

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return no value: `__call__` returns all values at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the values of the legacy names that are set, by group and field."""
        values: dict[str, dict[str, str]] = {}
        for (group, field), names in LEGACY_NAMES.items():
            if value := next(filter(None, map(self._value, names)), ""):
                values.setdefault(group, {})[field] = value
        return dict(values)

    def _value(self, name: str) -> str:
        """Return a variable's value; empty if it is not usable."""
        value = self._environment.get(name, "")
        # Kubernetes sets REDIS_PORT=tcp://… in every pod if a service is named redis
        return "" if name.endswith("PORT") and "://" in value else value
