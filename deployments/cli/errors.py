"""Error handling and settings of the command line: expected errors become one line and exit status 1."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deployments.console import error_console

if TYPE_CHECKING:
    from tasks.settings import Settings


@contextmanager
def user_errors() -> Generator[None]:
    """Print expected errors without a traceback and exit with status 1; let all others propagate."""
    try:
        yield
    except Exception as error:
        lines = _user_messages(error)
        for line in lines:
            error_console().print(f"musetalk: {line}", markup=False)
        if not lines:
            raise
        raise typer.Exit(1) from error


def _user_messages(error: Exception) -> list[str]:
    """Return the lines to print for an error; empty for an unexpected error, which keeps its traceback."""
    from pydantic import ValidationError

    from api.auth.api_keys import PublicWithoutKeys
    from api.auth.key_file import KeyFileError
    from api.client import ApiError
    from deployments.stack.redis import RedisUnusable
    from deployments.stack.supervisor import StackError
    from musetalk_core.errors import RenderError

    match error:
        case ApiError() | StackError() | PublicWithoutKeys() | KeyFileError() | RedisUnusable():
            return [str(error)]
        case RenderError() | TimeoutError():
            return [str(error)]
        case ValidationError():
            setting_names = ["__".join(map(str, fault["loc"])).upper() for fault in error.errors()]
            problems = [fault["msg"] for fault in error.errors()]
            return [
                f"MUSETALK_{place}: {fault}" for place, fault in zip(setting_names, problems, strict=True)
            ]
        case OSError() if error.filename is not None:  # for example no write permission, or a full disk
            return [f"{error.filename} cannot be used: {error.strerror}."]
        case _:
            return []


def read_settings(home: Path | None = None, port: int | None = None) -> "Settings":
    """Read the settings; the command line's home folder and port take precedence over the environment."""
    from tasks.settings import get_settings

    # set the variables too, so that later reads in this process and its children give the same settings
    overrides = {"MUSETALK_HOME": home, "MUSETALK_API__PORT": port}
    os.environ.update({name: str(value) for name, value in overrides.items() if value is not None})  # noqa: TID251
    return get_settings()
