"""Choice of a job's transcription engine. Light imports: the REST API uses it too."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from musetalk_core.errors import ModelNotInstalled
from musetalk_core.installation import setup_command
from musetalk_core.transcription.model_choice import EngineName, ModelChoice
from musetalk_core.warning_codes import WarningCode
from tasks.models.install import open_local_models
from tasks.settings import get_settings

RequestedEngine = Literal["auto"] | EngineName

_PACKAGES: Final = {"openai-whisper": ("whisper",), "ctranslate2": ("whisper", "ctranslate2")}
"""Modules that each engine needs; the loop around both takes tokens and rules from openai-whisper."""


def choose_transcription_engine(
    requested: RequestedEngine, choice: ModelChoice, *, fallback: bool = False
) -> tuple[EngineName, list[str]]:
    """
    Choose the engine of a job, on the machine that executes it.

    Args:
        requested: the engine that the job names; `auto` is the engine of the settings, or else the fastest
            one for the installed files of the model: CTranslate2 on CPUs for files in its format, otherwise
            openai-whisper.
        choice:    the model of the job.
        fallback:  use openai-whisper, with a warning, if the requested engine is not installed.

    Returns:
        The engine, and a warning if it is a substitute.

    Raises:
        ModelNotInstalled: the requested engine is not installed and `fallback` is off, or the model is not
            installed.
        InputError: the machine lacks the device that the settings name.
    """
    name, warnings = _named_engine(requested, fallback=fallback)
    if name != "auto":
        return name, warnings
    is_fastest = (
        transcription_engine_problem("ctranslate2") is None
        and is_packed(open_local_models().find(choice.model))
        and not _computes_on_cuda()
    )
    return ("ctranslate2" if is_fastest else "openai-whisper"), []


def check_transcription_engine(requested: RequestedEngine, *, fallback: bool = False) -> list[str]:
    """
    Return the warning of a substituted engine. Does not look for a GPU, so that torch is not imported.

    Args:
        requested, fallback: see `choose_transcription_engine`.

    Raises:
        ModelNotInstalled: the requested engine is not installed and `fallback` is off.
    """
    return _named_engine(requested, fallback=fallback)[1]


def transcription_engine_problem(name: EngineName) -> ModelNotInstalled | None:
    """Return why an engine cannot run on this computer; None if it can."""
    missing = [package for package in _PACKAGES[name] if find_spec(package) is None]
    if not missing:
        return None
    return ModelNotInstalled(f"The transcription engine {name} requires its package. Run: {setup_command()}")


def is_packed(files: Mapping[str, Path]) -> bool:
    """Return whether a Whisper model's files, by role, are in CTranslate2's format."""
    return "weights" not in files


def _named_engine(requested: RequestedEngine, *, fallback: bool) -> tuple[RequestedEngine, list[str]]:
    """Return the engine that the job or the settings name, or its substitute; `auto` if neither names one."""
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


def _computes_on_cuda() -> bool:
    """Return whether networks run on a GPU: CTranslate2 is not chosen there without being named."""
    from musetalk_core.runtime.device import choose_device
    from tasks.models.engines import runtime_config

    config = runtime_config()
    return choose_device(config.device, config.precision).torch_device.type == "cuda"
