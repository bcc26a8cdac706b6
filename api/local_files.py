"""Local files of API clients: names for results, and paths in media fields."""

import os
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pydantic import BaseModel

_WINDOWS_RESERVED_CHARACTERS = re.compile(r'[<>:"|?*\\]')
_WINDOWS_DEVICE_NAMES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)


def local_file_name(name: str, *, windows: bool = os.name == "nt") -> str:
    """
    Return a file name for a result that is valid on this computer.

    Args:
        name:    name of the result.
        windows: replace characters and device names (CON, NUL, COM1, …) that Windows reserves.
    """
    if not windows:
        return name
    cleaned = _WINDOWS_RESERVED_CHARACTERS.sub("_", name).rstrip(". ")
    return f"_{cleaned}" if _WINDOWS_DEVICE_NAMES.match(cleaned) else cleaned


def find_local_file(value: str, folder: Path | None) -> Path:
    """
    Return the path of a local file.

    Args:
        value:  a path.
        folder: preferred folder of a relative path; a file that does not exist there is looked up in the
            working directory.
    """
    inside = folder / value if folder is not None else None
    return inside if inside is not None and (inside.is_file() or not Path(value).is_file()) else Path(value)


def missing_file_message(path: Path) -> str:
    """Return the sentence for a file that does not exist, with the most similar file of its folder."""
    if path.is_dir():
        return f"{path} is a folder; name a file."
    try:
        names = [one.name for one in path.parent.iterdir() if one.is_file()]
    except OSError:
        return f"File not found: {path}. The folder {path.parent} does not exist."
    similar = get_close_matches(path.name, names, n=1)
    return f"File not found: {path}." + (f" Did you mean {path.with_name(similar[0])}?" if similar else "")


def map_media_fields(
    schema: "type[BaseModel] | None", fields: Mapping[str, Any], change: Callable[[str], str]
) -> dict[str, Any]:
    """
    Return fields in which the text of each media field is replaced.

    Args:
        schema: schema of the fields; None: no field is a media field.
        fields: job parameters, with nested objects as dictionaries.
        change: returns the new text of a media field.
    """
    if schema is None:
        return dict(fields)
    from pydantic import BaseModel

    from tasks.refs import media_fields

    media = media_fields(schema)

    def changed(name: str, value: Any) -> Any:
        if isinstance(value, str):
            return change(value) if name in media else value
        field = schema.model_fields.get(name)
        nested = field.annotation if field is not None else None
        if isinstance(value, dict) and isinstance(nested, type) and issubclass(nested, BaseModel):
            return map_media_fields(nested, cast(dict[str, Any], value), change)
        return value

    return {name: changed(name, value) for name, value in fields.items()}
