"""
Model selection for a job: rendering engine, voice, Whisper model and image analysis models.

`auto` is resolved here and nowhere else, from the models that are installed.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from flows.schemas.analyze import AnalyzeJob
from flows.schemas.musetalk import MuseTalkOptions, Version
from flows.schemas.speech import VoiceOptions
from flows.schemas.transcribe import TranscribeJob
from flows.schemas.video import Engine
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions, resolve_options
from musetalk_core.transcription.model_choice import ModelChoice
from musetalk_core.vision.model_choice import READER, ModelAssignment, assign_models
from tasks.models.install import open_local_models
from tasks.models.voices import VoiceSpec, choose_voice
from tasks.models.whisper import choose_whisper

if TYPE_CHECKING:
    from tasks.models.engines import EngineSpec


class EngineRequest(Protocol):
    """A job that selects a rendering engine."""

    @property
    def engine(self) -> Engine:
        """Requested engine; `auto` selects the best installed one."""
        ...

    @property
    def version(self) -> Version:
        """MuseTalk version."""
        ...

    @property
    def musetalk(self) -> MuseTalkOptions:
        """MuseTalk options."""
        ...


def resolve_engine(job: EngineRequest) -> "EngineSpec":
    """
    Return the engine for a job.

    Raises:
        InputError:        the options are incompatible with each other.
        ModelNotInstalled: the weights of the requested engine are not installed.
    """
    # local: the engines import OpenCV, and the API imports this module for its other functions
    from tasks.models.engines import choose_engine

    options = MuseTalkEngineOptions(version=job.version, **job.musetalk.model_dump())
    resolve_options(options)
    return choose_engine(job.engine, options)


def resolve_voice(voice: VoiceOptions) -> tuple[VoiceSpec, list[str]]:
    """
    Choose the speech engine and the voice of a job.

    Args:
        voice: voice options of the job; engine `auto` selects the best installed engine.

    Returns:
        The voice with its synthesis parameters, and a warning for each option that has no effect on it.

    Raises:
        ModelNotInstalled: the requested engine or voice is not installed.
        InputError:        a voice is to be cloned, but the starter engine is requested.
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
    )


def resolve_transcription_model(job: TranscribeJob) -> ModelChoice:
    """
    Return the Whisper model for a job.

    Raises:
        ModelNotInstalled: no installed model can run the job.
    """
    return choose_whisper(job.model, job.task, job.language, job.if_missing)


def select_analysis_models(job: AnalyzeJob) -> ModelAssignment:
    """
    Choose the model for each part of the analysis.

    Raises:
        ModelNotInstalled: the weights of the requested model are not installed.
    """
    local_models = open_local_models()
    if job.model not in ("auto", "starter"):
        local_models.find(job.model)
    can_run = find_spec("torch") is not None and find_spec("transformers") is not None
    usable = [name for name in local_models.installed_models() if can_run or name == READER]
    return assign_models(job.model, job.features, job.question is not None, usable)
