"""Error handling of the command line: expected errors become one line and an exit status."""

import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from tasks.settings import Settings

EXIT_FAILED: Final = 1
"""Exit status: a job, a row of a batch, a check or an operation failed."""
EXIT_USAGE: Final = 2
"""Exit status: an option, parameter, file, id or setting cannot be used."""
EXIT_UNREACHABLE: Final = 3
"""Exit status: the API cannot be reached or is not ready."""

_COMMAND = re.compile(
    r"(?<![\w./-])(?<!\./run )musetalk"
    r" (?=(?:up|deploy|server|api|worker|watch|result|submit|weights|doctor|setup|keys|jobs|provenance)\b)"
)


class UsageError(Exception):
    """A command, option, parameter or id cannot be used; the message is one sentence."""


def program() -> str:
    """Return how this program was started: `./run musetalk` in a checkout, `musetalk` if it is on PATH."""
    return "./run musetalk" if Path(sys.argv[0]).name == "__main__.py" else "musetalk"


def with_program(text: str) -> str:
    """Return a text in which commands and parameters are written as they can be typed here."""
    text = text.replace("set `fallback: true`", "add --set fallback=true")
    return _COMMAND.sub(f"{program()} ", text).replace("./run musetalk ", f"{program()} ")


@contextmanager
def user_errors() -> Generator[None]:
    """Print expected errors without a traceback and exit with their status; let all others propagate."""
    try:
        yield
    except Exception as error:
        lines, status = _user_messages(error)
        for line in lines:
            typer.echo(f"musetalk: {with_program(line)}", err=True)
        if not lines:
            raise
        raise typer.Exit(status) from error


def _user_messages(error: Exception) -> tuple[list[str], int]:
    """Return the lines to print for an error and the exit status; no lines for an unexpected error."""
    if isinstance(error, UsageError):
        return str(error).splitlines(), EXIT_USAGE
    from api.client import ApiError, ApiUnreachable, LocalFileMissing, RequestRejected

    match error:
        case ApiUnreachable():
            return [str(error)], EXIT_UNREACHABLE
        case LocalFileMissing() | RequestRejected():
            return [str(error)], EXIT_USAGE
        case ApiError():
            return [str(error)], EXIT_FAILED
        case _:
            return _service_messages(error)


def _service_messages(error: Exception) -> tuple[list[str], int]:
    """Return what `_user_messages` does for errors of services and settings, which import large modules."""
    from pydantic import ValidationError

    from api.auth.api_keys import PublicWithoutKeys
    from api.auth.key_file import KeyFileError
    from deployments.stack.redis import RedisUnusable
    from deployments.stack.supervisor import StackError
    from musetalk_core.errors import InputError, ModelNotInstalled, RenderError

    match error:
        case KeyFileError() | PublicWithoutKeys():
            return [str(error)], EXIT_USAGE
        case InputError() if not isinstance(error, ModelNotInstalled):
            return [str(error)], EXIT_USAGE
        case StackError() | RedisUnusable() | RenderError() | TimeoutError():
            return [str(error)], EXIT_FAILED
        case ValidationError():
            return [_setting_message(fault) for fault in error.errors()], EXIT_USAGE
        case OSError() if error.filename is not None:  # for example no write permission, or a full disk
            return [f"{error.filename} cannot be used: {error.strerror}."], EXIT_FAILED
        case _:
            return [], EXIT_FAILED


def _setting_message(fault: "ErrorDetails") -> str:
    """Return the sentence for a setting that cannot be used; a misspelled one with the most similar name."""
    from difflib import get_close_matches

    from tasks.settings.env_example import setting_names

    name = f"MUSETALK_{'__'.join(map(str, fault['loc']))}".upper()
    if fault["type"] == "extra_forbidden":
        similar = get_close_matches(name, setting_names(), n=1)
        return f"There is no setting {name}." + (f" Did you mean {similar[0]}?" if similar else "")
    return f"{name}: {fault['msg'].replace('Input should be', 'expected a value')}"


def require_writable_home(settings: "Settings") -> None:
    """Create the home folder and write to it; raise OSError with its name if that fails."""
    from tempfile import TemporaryFile

    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryFile(dir=settings.home):
            pass
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} (MUSETALK_HOME)", str(settings.home)) from error


def read_settings(home: Path | None = None, port: int | None = None) -> "Settings":
    """Read the settings; the command line's home folder and port take precedence over the environment."""
    from tasks.settings import get_settings

    # set the variables too, so that later reads in this process and its children give the same settings
    overrides = {"MUSETALK_HOME": home, "MUSETALK_API__PORT": port}
    os.environ.update({name: str(value) for name, value in overrides.items() if value is not None})  # noqa: TID251
    return get_settings()
