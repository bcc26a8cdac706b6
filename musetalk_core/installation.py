"""How this program was installed, for the advice in errors: a checkout with `./run`, or packages of pip."""

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

_DISTRIBUTION: Final = "musetalk-flows"
_ROOT: Final = Path(__file__).resolve().parents[1]


def is_checkout() -> bool:
    """Return whether the packages are those of a checkout, whose script `run` installs what they need."""
    return (_ROOT / "run").is_file() and (_ROOT / "pyproject.toml").is_file()


def setup_command() -> str:
    """Return the command that completes this installation: `./run setup` in a checkout, else pip."""
    return extras_command("neural", "redis")


def extras_command(*extras: str) -> str:
    """
    Return the command that adds optional dependencies: `./run setup` in a checkout, else pip.

    The project is on no public index. Installed from a wheel or a folder, pip finds it there again.

    Args:
        extras: names in `pyproject.toml`.
    """
    if is_checkout():
        return "./run setup"
    url = _installed_from()
    origin = f" @ {url}" if url else ""
    return f"pip install '{_DISTRIBUTION}[{','.join(extras)}]{origin}'"


def _installed_from() -> str | None:
    """Return the URL of the wheel or folder that pip installed; None if it came from an index."""
    try:
        origin = distribution(_DISTRIBUTION).read_text("direct_url.json")
        return json.loads(origin)["url"] if origin else None
    except (PackageNotFoundError, ValueError, KeyError):
        return None


def command(arguments: str) -> str:
    """
    Return a command of this program as it can be typed here.

    Args:
        arguments: for example `weights pull musetalk`.
    """
    return f"{'./run musetalk' if is_checkout() else 'musetalk'} {arguments}"
