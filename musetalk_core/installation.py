"""How this program was installed, for the advice in errors: a checkout with `./run`, or packages of pip."""

from pathlib import Path
from typing import Final

PACKAGES_WITHOUT_THEIR_NEEDS: Final = ("ai-edge-litert", "rapidocr-onnxruntime", "silero-vad")
"""Installed with --no-deps: they require a backport that rejects Python 3.11, a second OpenCV, or torch."""

_ROOT: Final = Path(__file__).resolve().parents[1]


def is_checkout() -> bool:
    """Return whether the packages are those of a checkout, whose script `run` installs what they need."""
    return (_ROOT / "run").is_file() and (_ROOT / "pyproject.toml").is_file()


def setup_command() -> str:
    """Return the command that completes this installation: `./run setup` in a checkout, else pip."""
    if is_checkout():
        return "./run setup"
    unmet = " ".join(PACKAGES_WITHOUT_THEIR_NEEDS)
    return f"pip install 'musetalk-flows[neural,redis]' && pip install --no-deps {unmet}"


def command(arguments: str) -> str:
    """
    Return a command of this program as it can be typed here.

    Args:
        arguments: for example `weights pull musetalk`.
    """
    return f"{'./run musetalk' if is_checkout() else 'musetalk'} {arguments}"
