"""Which of Whisper's models a job gets: the one it names, or the best there is. Imports nothing heavy."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from musetalk_core.errors import ModelNotInstalled
from musetalk_core.transcription.records import Task

Size = Literal["tiny.en", "tiny", "base", "small", "medium", "large", "large-v2", "large-v3"]
IfMissing = Literal["fail", "substitute"]

_UNASKED: Final[tuple[Size, ...]] = ("medium", "small", "base", "tiny", "tiny.en")
"""What a job that names none may get, the best first; larger ones must be asked for."""
_ENGLISH: Final = frozenset({"", "en", "english"})


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, and the one that it stands in for."""

    size: Size
    instead_of: Size | None = None

    @property
    def model(self) -> str:
        """Its name in the table of models."""
        return model_name(self.size)

    @property
    def is_english_only(self) -> bool:
        """It knows no other language and cannot tell which one is spoken."""
        return self.size == "tiny.en"


def model_name(size: Size) -> str:
    """Return the name that a size has in the table of models; `large` is the newest of the large ones."""
    return f"whisper-{'large-v3' if size == 'large' else size}"


def is_english(language: str) -> bool:
    """Tell whether a language, code or name, is English or left open."""
    return language.strip().lower() in _ENGLISH


def needs_many_languages(task: Task, language: str) -> bool:
    """Tell whether a model that knows English alone cannot do it; `language` is a code, a name or ''."""
    return task == "translate" or not is_english(language)


def choose(
    asked: Size | None, task: Task, language: str, installed: Collection[str], if_missing: IfMissing
) -> Choice:
    """
    Choose a model.

    Args:
        asked:      what the job names; None: the largest that is installed, up to medium.
        task:       what shall be done.
        language:   that is spoken, code or English name; '' to have it detected.
        installed:  names of models, as the table has them.
        if_missing: for a model that is named: whether a smaller one may stand in.

    Raises:
        ModelNotInstalled: there is none that can do it; the message names the command that installs one.
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
        what, install = "The model tiny.en knows English alone", model_name("base")
    elif asked is not None:
        what, install = f"The model {asked} is not installed", model_name(asked)
    else:
        languages = " other languages than English" if many_languages else ""
        what, install = f"No model that transcribes{languages} is installed", model_name("base")
    return ModelNotInstalled(f"{what}. Run: musetalk weights pull {install}", model=install)
