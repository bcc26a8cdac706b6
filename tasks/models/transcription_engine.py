"""Transcription engines: which one a job names, and whether it can run here. Light: the REST API uses it."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from musetalk_core.errors import ModelNotInstalled
from musetalk_core.installation import setup_command
from musetalk_core.transcription.model_choice import EngineName
from musetalk_core.warning_codes import WarningCode
from tasks.settings import get_settings

RequestedEngine = Literal["auto"] | EngineName

_PACKAGES: Final = {"openai-whisper": ("whisper",), "ctranslate2": ("whisper", "ctranslate2")}
"""Modules that each engine needs; the loop around both takes tokens and rules from openai-whisper."""


def check_transcription_engine(requested: RequestedEngine, *, fallback: bool = False) -> list[str]:
    """
    Return the warning of a substituted engine. Does not look for a GPU, so that torch is not imported.

    Args:
        requested, fallback: see `named_engine`.

    Raises:
        ModelNotInstalled: the requested engine is not installed and `fallback` is off.
    """
    return named_engine(requested, fallback=fallback)[1]


def transcription_engine_problem(name: EngineName) -> ModelNotInstalled | None:
    """Return why an engine cannot run on this computer; None if it can."""
    missing = [package for package in _PACKAGES[name] if find_spec(package) is None]
    if not missing:
        return None
    return ModelNotInstalled(f"The transcription engine {name} requires its package. Run: {setup_command()}")


def is_packed(files: Mapping[str, Path]) -> bool:
    """Return whether a Whisper model's files, by role, are in CTranslate2's format."""
    return "weights" not in files


def named_engine(requested: RequestedEngine, *, fallback: bool) -> tuple[RequestedEngine, list[str]]:
    """
    Return the engine that the job or the settings name, or its substitute, and the warning of a substitute.

    Args:
        requested: the engine that the job names; `auto` leaves it to the settings.
        fallback:  use openai-whisper, with a warning, if the named engine is not installed.

    Returns:
        The engine, `auto` if neither names one; a warning if it is a substitute.

    Raises:
        ModelNotInstalled: the named engine is not installed and `fallback` is off.
    """
    name = get_settings().models.transcription if requested == "auto" else requested
    problem = transcription_engine_problem(name) if name == "ctranslate2" else None
    if problem is None:
        return name, []
    if not fallback:
        raise ModelNotInstalled(
            f"{problem}. Or set `fallback: true` to use openai-whisper.", **problem.details
        )
    return "openai-whisper", [
        WarningCode.MODEL_SUBSTITUTED(f"{problem}. openai-whisper was used instead of ctranslate2")
    ]
