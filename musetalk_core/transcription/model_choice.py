"""Choice of the Whisper model for a job: as requested, or the best installed. Does not import torch."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from musetalk_core.errors import InputError, ModelNotInstalled
from musetalk_core.installation import command
from musetalk_core.transcription.transcript import WhisperTask
from musetalk_core.warning_codes import WarningCode

WhisperSize = Literal["tiny.en", "tiny", "base", "small", "medium", "large", "large-v2", "large-v3"]

EngineName = Literal["openai-whisper", "ctranslate2"]
"""Implementations of Whisper, by the names of their packages."""

_DEFAULT_SIZES: Final[tuple[WhisperSize, ...]] = ("medium", "small", "base", "tiny", "tiny.en")
"""Models for a job that names none, best first; larger models must be requested."""
_ENGLISH_NAMES: Final = frozenset({"", "en", "english"})


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """
    The model of a job.

    Attributes:
        size:       the chosen size.
        instead_of: the requested size that it substitutes; None if it does not substitute one.
    """

    size: WhisperSize
    instead_of: WhisperSize | None = None

    @property
    def model(self) -> str:
        """Name in the model registry."""
        return model_name(self.size)

    @property
    def is_english_only(self) -> bool:
        """Whether it supports English only and cannot detect the language."""
        return self.size == "tiny.en"

    def warnings(self) -> list[str]:
        """Return the warning of a substitute."""
        if self.instead_of is None:
            return []
        return [WarningCode.MODEL_SUBSTITUTED(f"{self.instead_of} is not installed; {self.size} was used")]


def model_name(size: WhisperSize) -> str:
    """Return the name of a size in the model registry; `large` is large-v3."""
    return f"whisper-{'large-v3' if size == 'large' else size}"


def is_english(language: str) -> bool:
    """Return whether a language, given as code or English name, is English or empty."""
    return language.strip().lower() in _ENGLISH_NAMES


def needs_multilingual(task: WhisperTask, language: str) -> bool:
    """Return whether a task requires a multilingual model; `language` is a code, an English name or ''."""
    return task == "translate" or not is_english(language)


def choose(
    requested: WhisperSize | None,
    task: WhisperTask,
    language: str,
    installed: Collection[str],
    *,
    fallback: bool,
) -> ModelChoice:
    """
    Choose the Whisper model for a job.

    Args:
        requested:  size that the job names; None: the largest that is installed, up to medium.
        task:       transcribe, or translate to English.
        language:   spoken language, as code or English name; '' to detect it.
        installed:  names of installed models in the model registry.
        fallback:   whether an installed model may substitute a requested one that is missing.

    Raises:
        InputError: the job names tiny.en for something that it cannot do, installed or not.
        ModelNotInstalled: no installed model is suitable; the message names the reason and the command that
            installs one.
    """
    must_be_multilingual = needs_multilingual(task, language)
    if (
        requested is not None
        and model_name(requested) in installed
        and not (must_be_multilingual and requested == "tiny.en")
    ):
        return ModelChoice(requested)
    substitute: WhisperSize | None = next(
        (
            size
            for size in _DEFAULT_SIZES
            if model_name(size) in installed and not (must_be_multilingual and size == "tiny.en")
        ),
        None,
    )
    if requested == "tiny.en" and must_be_multilingual and not fallback:
        raise InputError(
            f"{_multilingual_reason(task, language)}, and tiny.en supports English only. Name another model,"
            " or none to use the best that is installed."
        )
    if substitute is None or (requested is not None and not fallback):
        reason = _multilingual_reason(task, language) if must_be_multilingual else None
        raise _not_installed(requested, reason, substitute)
    return ModelChoice(substitute, instead_of=requested)


def _multilingual_reason(task: WhisperTask, language: str) -> str:
    if task == "translate":
        return "Translation requires a multilingual model"
    return f"The language {language.strip()} requires a multilingual model"


def _not_installed(
    requested: WhisperSize | None, multilingual_reason: str | None, substitute: WhisperSize | None
) -> ModelNotInstalled:
    """
    Return the error of a model that is not installed.

    Args:
        requested:           size that the job names.
        multilingual_reason: why no English-only model will do; None if one will.
        substitute:          the installed size that `fallback` would use.
    """
    named = requested if requested != "tiny.en" or not multilingual_reason else None
    install = model_name(named or "base")
    if multilingual_reason:
        missing = f"{named} is not installed" if named else "none is installed"
        reason = f"{multilingual_reason}, and {missing}"
    elif named:
        reason = f"The model {named} is not installed"
    else:
        reason = "No model that transcribes is installed"
    other = f". Or set `fallback: true` to use {substitute}." if substitute else ""
    return ModelNotInstalled(f"{reason}. Run: {command(f'weights pull {install}')}{other}", model=install)
