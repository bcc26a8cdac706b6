"""Choice of the Whisper model for a job: as requested, or the best installed. Does not import torch."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from musetalk_core.errors import ModelNotInstalled
from musetalk_core.transcription.records import Task

Size = Literal["tiny.en", "tiny", "base", "small", "medium", "large", "large-v2", "large-v3"]
IfMissing = Literal["fail", "substitute"]

_UNASKED: Final[tuple[Size, ...]] = ("medium", "small", "base", "tiny", "tiny.en")
"""Models for a job that names none, best first; larger models must be requested."""
_ENGLISH: Final = frozenset({"", "en", "english"})


@dataclass(frozen=True, slots=True)
class Choice:
    """
    The model of a job.

    Attributes:
        size:       the chosen size.
        instead_of: the requested size that it substitutes; None if it does not substitute one.
    """

    size: Size
    instead_of: Size | None = None

    @property
    def model(self) -> str:
        """Name in the model registry."""
        return model_name(self.size)

    @property
    def is_english_only(self) -> bool:
        """Whether it supports English only and cannot detect the language."""
        return self.size == "tiny.en"


def model_name(size: Size) -> str:
    """Return the name of a size in the model registry; `large` is large-v3."""
    return f"whisper-{'large-v3' if size == 'large' else size}"


def is_english(language: str) -> bool:
    """Return whether a language, given as code or English name, is English or empty."""
    return language.strip().lower() in _ENGLISH


def needs_many_languages(task: Task, language: str) -> bool:
    """Return whether a task requires a multilingual model; `language` is a code, an English name or ''."""
    return task == "translate" or not is_english(language)


def choose(
    asked: Size | None, task: Task, language: str, installed: Collection[str], if_missing: IfMissing
) -> Choice:
    """
    Choose the Whisper model for a job.

    Args:
        requested:  size that the job names; None: the largest that is installed, up to medium.
        task:       transcribe, or translate to English.
        language:   spoken language, as code or English name; '' to detect it.
        installed:  names of installed models in the model registry.
        if_missing: whether an installed model may substitute a requested one that is missing.

    Raises:
        ModelNotInstalled: no installed model is suitable; the message names the command that installs one.
    """
    wanted = needs_many_languages(task, language)
    if asked is not None and model_name(asked) in installed and not (wanted and asked == "tiny.en"):
        return Choice(asked)
    if asked is not None and if_missing == "fail":
        raise _missing(asked, wanted)
    for size in _UNASKED:
        if model_name(size) in installed and not (wanted and size == "tiny.en"):
            return Choice(size, instead_of=asked)
    raise _missing(asked, wanted)


def _missing(asked: Size | None, many_languages: bool) -> ModelNotInstalled:
    if asked == "tiny.en" and many_languages:
        what, install = "The model tiny.en supports English only", model_name("base")
    elif asked is not None:
        what, install = f"The model {asked} is not installed", model_name(asked)
    else:
        languages = " other languages than English" if many_languages else ""
        what, install = f"No model that transcribes{languages} is installed", model_name("base")
    return ModelNotInstalled(f"{what}. Run: musetalk weights pull {install}", model=install)
