"""Models and engines of this computer: state, size, licence, and the command that installs each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from musetalk_core.errors import ModelNotInstalled
from musetalk_core.model_registry.local_models import LocalModels, ModelStatus
from musetalk_core.model_registry.registry import GROUPS, MODELS, install_command
from musetalk_core.transcription.model_choice import EngineName, WhisperSize, model_name
from tasks.errors import LicenceNotAccepted
from tasks.models.engine_choice import choose_engine_name
from tasks.models.install import open_local_models, require_accepted_licences
from tasks.models.transcription_engine import is_packed, transcription_engine_problem
from tasks.settings import get_settings

ModelState = Literal["installed", "partial", "missing", "damaged"]


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """
    A model of the registry and its state on this computer.

    Attributes:
        name:     name in jobs, settings and commands.
        title:    description for people.
        licence:  of the weights.
        non_commercial: whether the licence forbids commercial use.
        homepage: repository or project.
        state:    whether its files are complete.
        problem:  what is wrong with its files; None if nothing is known.
        bytes:    size of its files; an estimate for missing ones.
        needs:    models that are installed with it.
        groups:   names that stand for it and other models.
        bundled:  whether it is part of the installation.
        command:  command that installs it.
    """

    name: str
    title: str
    licence: str
    non_commercial: bool
    homepage: str
    state: ModelState
    problem: str | None
    bytes: int
    needs: tuple[str, ...]
    groups: tuple[str, ...]
    bundled: bool
    command: str


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """A rendering engine: whether it can run on this computer, and the reason if it cannot."""

    name: str
    installed: bool
    problem: str | None
    default: bool
    """Whether jobs with engine `auto` use it."""


@dataclass(frozen=True, slots=True)
class TranscriptionEngineRecord:
    """
    An implementation of Whisper on this computer.

    Attributes:
        name:      name in jobs and settings.
        installed: whether its package is installed.
        problem:   why it cannot run, and the command that changes that; None if it can.
        preferred: whether the setting for jobs with engine `auto` names it.
        models:    installed Whisper models in its format; jobs with engine `auto` run them with CTranslate2
            on CPUs, unless the setting names an engine.
        converts:  the other installed ones, which it converts once, at their first use.
    """

    name: str
    installed: bool
    problem: str | None
    preferred: bool
    models: tuple[str, ...]
    converts: tuple[str, ...]

    @property
    def summary(self) -> str:
        """Return the engine and its models in one line."""
        if self.problem is not None:
            return self.problem
        own = ", ".join(self.models) or "no model in its format"
        return f"{self.name}: {own}" + (f" (converts {', '.join(self.converts)})" if self.converts else "")


def list_models() -> Iterator[ModelRecord]:
    """Yield all models of the registry; reads the sizes and headers of installed files."""
    local_models = open_local_models()
    for name in MODELS:
        yield _record(local_models, local_models.status(name))


def is_model_name(name: str) -> bool:
    """Return whether a model or a group of models has this name."""
    return name in MODELS or name in GROUPS


def licence_to_accept(name: str) -> str | None:
    """Return the licence to accept before a model or group is downloaded; None: nothing to accept."""
    try:
        require_accepted_licences([name])
    except LicenceNotAccepted as error:
        return str(error.details["licence"])
    return None


def list_engines() -> Iterator[EngineRecord]:
    """Yield the rendering engines, the neural one first."""
    default, _ = choose_engine_name("auto", "v15")
    for name in ("musetalk", "viseme"):
        try:
            choose_engine_name(name, "v15")
            problem = None
        except ModelNotInstalled as error:
            problem = str(error).replace(f"{open_local_models().folder}/", "")
        yield EngineRecord(name, problem is None, problem, name == default)


def list_transcription_engines() -> Iterator[TranscriptionEngineRecord]:
    """Yield the implementations of Whisper, with the installed models that each can run."""
    local_models = open_local_models()
    names = [model_name(size) for size in get_args(WhisperSize)]
    files = {name: local_models.status(name) for name in dict.fromkeys(names)}
    packed = {
        name: is_packed({file.role: path for file, path in status.paths.items()})
        for name, status in files.items()
        if not status.missing
    }
    for engine in get_args(EngineName):
        problem = transcription_engine_problem(engine)
        is_own = {
            name: is_ctranslate2 == (engine == "ctranslate2") for name, is_ctranslate2 in packed.items()
        }
        yield TranscriptionEngineRecord(
            name=engine,
            installed=problem is None,
            problem=None if problem is None else str(problem),
            preferred=get_settings().models.transcription == engine,
            models=tuple(name for name, own in is_own.items() if own and problem is None),
            converts=tuple(name for name, own in is_own.items() if not own and problem is None),
        )


def total_bytes(status: ModelStatus) -> int:
    """Return the size of a model's own files in bytes; the registry's size is used for missing files."""
    installed_bytes = sum(path.stat().st_size for path in status.paths.values())
    return installed_bytes + sum(file.approx_bytes for file in status.missing)


def _record(local_models: LocalModels, status: ModelStatus) -> ModelRecord:
    model, problem = status.model, local_models.known_problem(status)
    return ModelRecord(
        name=model.name,
        title=model.title,
        licence=model.licence,
        non_commercial=model.non_commercial,
        homepage=model.homepage,
        state="damaged" if problem else status.state,
        problem=problem and _without_folders(problem, status),
        bytes=total_bytes(status),
        needs=model.needs,
        groups=tuple(group for group, members in GROUPS.items() if model.name in members),
        bundled=model.is_starter,
        command=install_command(model.name),
    )


def _without_folders(problem: str, status: ModelStatus) -> str:
    """Replace paths in a message by file names: clients of the API learn nothing about this computer."""
    for path in status.paths.values():
        problem = problem.replace(str(path), path.name)
    return problem
