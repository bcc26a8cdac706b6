"""Prefect task of speech to text: transcribe audio with Whisper to TXT, JSON, SRT, VTT and TSV."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact
from pydantic import BaseModel, ConfigDict, Field

from musetalk_core import CORE_VERSION
from musetalk_core.formats.pcm import PcmFile, duration_seconds
from musetalk_core.model_registry.pins import PinnedModel, digest_of
from musetalk_core.transcription.model_choice import EngineName, ModelChoice, WhisperSize
from musetalk_core.transcription.transcript import TimeSpan, Transcript, WhisperTask
from musetalk_core.transcription.vad import speech_clips
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.models.environment import computing_environment
from tasks.models.install import pin
from tasks.models.whisper import VOICE_ACTIVITY_MODEL, load_voice_activity, load_whisper
from tasks.refs import Artefact, SourceFile
from tasks.run.cancellation import raise_if_cancelled
from tasks.run.reports import Report, phase
from tasks.run.task_policies import CACHED_BY_CONTENT, RETRY_COMPUTE, traced
from tasks.steps.sound import decode_audio

TRANSCRIPT_KIND = "transcript"
FORMATS = ("txt", "json", "srt", "vtt", "tsv")
"""Extensions of the files of a transcript, the simplest format first."""
_DECODING_VERSION = 2
"""Increase it when the same models return another text."""
_MAX_ROWS = 500
_log = logging.getLogger(__name__)


class TranscriptionRequest(BaseModel):
    """A fully resolved transcription request. Passed between tasks."""

    model_config = ConfigDict(frozen=True)

    size: WhisperSize
    task: WhisperTask
    language: str | None
    """Code of the spoken language; None to detect it."""
    beam_size: int
    words: bool
    gate: bool
    """Whether voice activity detection skips long silence and music."""
    engine: EngineName = "openai-whisper"
    weights: tuple[PinnedModel, ...] = Field(default=(), exclude=True)
    """The pinned models, see `pin_transcription`."""

    def pinned_model(self, name: str) -> PinnedModel:
        """Return one of the pinned models; pin the installed one if the job has pinned none."""
        return next((model for model in self.weights if model.name == name), None) or pin(name)[0]


def models_of_request(request: TranscriptionRequest) -> tuple[str, ...]:
    """Return the registry names of the models of a transcription."""
    return (ModelChoice(request.size).model, *([VOICE_ACTIVITY_MODEL] if request.gate else []))


def pin_transcription(request: TranscriptionRequest) -> TranscriptionRequest:
    """
    Pin the current weights of a transcription for the rest of the job.

    Raises:
        ModelNotInstalled, WeightsInvalid: see `LocalModels.pin`.
    """
    return request.model_copy(update={"weights": pin(*models_of_request(request))})


def transcript_key(audio: SourceFile, request: TranscriptionRequest) -> str:
    """
    Return the cache key of a transcript: the audio, the models, device, libraries and every parameter.

    The engine is a part of it unless it is openai-whisper, the only one of earlier releases.
    """
    is_reference = request.engine == "openai-whisper"
    libraries = ("torch", "openai-whisper", *(() if is_reference else (request.engine,)))
    return content_key(
        kind=TRANSCRIPT_KIND,
        core=CORE_VERSION,
        audio=audio.sha256,
        models=digest_of(request.pinned_model(name) for name in models_of_request(request)),
        decoding=_DECODING_VERSION,
        computed_by=computing_environment(*libraries),
        **request.model_dump(exclude={"engine"} if is_reference else None),
    )


@task(**CACHED_BY_CONTENT, **RETRY_COMPUTE)
@traced
def hear(key: str, audio: SourceFile, wanted: TranscriptionRequest) -> Artefact:
    """
    Transcribe audio to `transcript.txt`, `.json`, `.srt`, `.vtt` and `.tsv` in the cache entry.

    Args:
        key:    `transcript_key` of the other arguments.
        audio:  the fetched audio.
        wanted: the request.

    Raises:
        InputError: the file has no audio, or a model is missing or damaged.
    """

    def make(folder: Path) -> None:
        _transcribe_into(folder, audio, wanted)

    return artefact_cache().get_or_create(TRANSCRIPT_KIND, key, make)


def _transcribe_into(folder: Path, audio: SourceFile, request: TranscriptionRequest) -> None:
    from musetalk_core.transcription.writers import write_transcript

    with phase("features") as report:
        samples = decode_audio(audio)
        spans = _spans_to_transcribe(samples, request, report)
    with phase("render") as report:
        transcript = (
            _transcribe_spans(samples, spans, request, report)
            if spans  # without speech no model is loaded
            else Transcript.without_speech(duration_seconds(samples), request.language)
        )
    write_transcript(transcript, folder, {"model": request.size, "task": request.task})


def _transcribe_spans(
    samples: PcmFile, spans: list[TimeSpan], request: TranscriptionRequest, report: Report
) -> Transcript:
    from musetalk_core.transcription.decoding import DecodeOptions
    from musetalk_core.transcription.transcribe import transcribe

    def on_seconds(done: float, total: float) -> None:
        report.advance("render", round(done), round(total))  # also checks for cancellation

    options = DecodeOptions(request.task, request.beam_size, words=request.words)
    choice = ModelChoice(request.size)
    loaded = load_whisper(choice, request.pinned_model(choice.model), request.engine)
    return transcribe(samples, spans, loaded, request.language, options, on_seconds, check=raise_if_cancelled)


def _spans_to_transcribe(samples: PcmFile, request: TranscriptionRequest, report: Report) -> list[TimeSpan]:
    total_s = duration_seconds(samples)
    if not request.gate:
        return [TimeSpan(0.0, total_s)]
    from musetalk_core.transcription.vad import detect_speech

    def on_seconds(done: float) -> None:
        report.advance("features", round(done), round(total_s))  # also checks for cancellation

    network = load_voice_activity(request.pinned_model(VOICE_ACTIVITY_MODEL))
    return speech_clips(detect_speech(samples, network, on_seconds), total_s)


def read_transcript(artefact: Artefact) -> dict[str, Any]:
    """Return the JSON document of a transcript from its cache entry."""
    content: dict[str, Any] = json.loads(
        artefact_cache().file(artefact, "transcript.json").read_text(encoding="utf-8")
    )
    return content


def show_transcript(transcript: Mapping[str, Any]) -> None:
    """
    Create the table artifact `transcript` of the current run; an error of Prefect does not fail the job.

    Args:
        transcript: the document of `read_transcript`.
    """
    segments = transcript["segments"]
    rows = [
        {
            "from": format_clock(s["start"]),
            "to": format_clock(s["end"]),
            "text": s["text"],
            "confidence": s["confidence"],
        }
        for s in segments[:_MAX_ROWS]
    ]
    truncation_note = (
        f"; first {_MAX_ROWS} of {len(segments)} segments, all are in the files"
        if len(segments) > _MAX_ROWS
        else ""
    )
    language = transcript["language"] or "no speech"
    description = f"{language}, transcribed by Whisper {transcript['model']}{truncation_note}"
    try:
        create_table_artifact(key="transcript", table=rows, description=description)
    except Exception as error:
        _log.warning("the artifact of the transcript was not created: %s", error)


def format_clock(seconds: float) -> str:
    """Format a time in seconds as h:mm:ss.d."""
    tenths = round(seconds * 10)
    return f"{tenths // 36000}:{tenths // 600 % 60:02}:{tenths // 10 % 60:02}.{tenths % 10}"
