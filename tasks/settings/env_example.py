"""
Generator of deployments/env.example, the commented list of all settings.

Regenerate the file with `python -m tasks.settings.env_example > deployments/env.example`.
"""

import json
import sys
from inspect import getdoc
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasks.settings import PREFIX, Settings
from tasks.settings.legacy_names import LEGACY_NAMES


def env_example() -> str:
    """Return every setting as a commented-out variable with its default and its description."""
    parts = ["# Every setting, with its default. Remove the # of a line to change it. Lists: a,b\n"]
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            parts.append(f"\n# --- {_first_line(kind)}\n")
            parts.extend(
                _variable_lines(f"{PREFIX}{name}__{inner}", of, _legacy_names(name, inner))
                for inner, of in kind.model_fields.items()
            )
        else:
            parts.append(_variable_lines(f"{PREFIX}{name}", field, ()))
    return "".join(parts)


def setting_names() -> list[str]:
    """Return the environment variables of all settings."""
    names: list[str] = []
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            names += [f"{PREFIX}{name}__{inner}".upper() for inner in group.model_fields]
        else:
            names.append(f"{PREFIX}{name}".upper())
    return names


def _variable_lines(name: str, field: FieldInfo, aliases: tuple[str, ...]) -> str:
    description_line = f"# {field.description}\n" if field.description else ""
    legacy_line = f"# Older names: {', '.join(aliases)}\n" if aliases and not field.description else ""
    return f"{description_line}{legacy_line}#{name.upper()}={_format_default(field.default)}\n"


def _legacy_names(group: str, field: str) -> tuple[str, ...]:
    return LEGACY_NAMES.get((group, field), ())


def _format_default(default: object) -> str:
    match default:
        case None:
            return ""
        case bool():
            return json.dumps(default)
        case tuple():
            return ",".join(str(part) for part in default)
        case Path():
            return default.as_posix()
        case _:
            return str(default)


def _first_line(kind: type[BaseModel]) -> str:
    return (getdoc(kind) or "").splitlines()[0]


if __name__ == "__main__":
    sys.stdout.write(env_example())
