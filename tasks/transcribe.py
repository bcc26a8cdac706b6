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
from musetalk_core.speech.samples import PcmFile, seconds
from musetalk_core.transcription.choice import Choice, Size
from musetalk_core.transcription.gate import clips
from musetalk_core.transcription.records import Span, Task, Transcript
from musetalk_core.weights.pins import PinnedModel, digest_of
from tasks.artefacts import artefacts, content_key
from tasks.policies import BY_CONTENT, RETRY_COMPUTE
from tasks.refs import Artefact, SourceFile
from tasks.reports import Report, phase
from tasks.speech import decoded
from tasks.transcribers import VOICE_ACTIVITY, hearing, voice_activity
from tasks.weights import pin

TRANSCRIPT = "transcript"
FORMATS = ("txt", "json", "srt", "vtt", "tsv")
"""Extensions of the files of a transcript, the simplest format first."""
_ROWS = 500
_log = logging.getLogger(__name__)


class Wanted(BaseModel):
    """A fully resolved transcription request. Passed between tasks."""

    model_config = ConfigDict(frozen=True)

    size: Size
    task: Task
    language: str | None
    """Code of the spoken language; None to detect it."""
    beam_size: int
    words: bool
    gate: bool
    """Whether voice activity detection skips long silence and music."""
    weights: tuple[PinnedModel, ...] = Field(default=(), exclude=True)
    """The pinned models, see `pin_transcription`."""

    def pinned(self, name: str) -> PinnedModel:
        """Return one of the pinned models; pin the installed one if the job has pinned none."""
        return next((model for model in self.weights if model.name == name), None) or pin(name)[0]


def models_for(wanted: Wanted) -> tuple[str, ...]:
    """Return the registry names of the models of a transcription."""
    return (Choice(wanted.size).model, *([VOICE_ACTIVITY] if wanted.gate else []))


def pinned_transcription(wanted: Wanted) -> Wanted:
    """
    Pin the current weights of a transcription for the rest of the job.

    Raises:
        ModelNotInstalled, WeightsInvalid: see `LocalModels.pin`.
    """
    return wanted.model_copy(update={"weights": pin(*models_for(wanted))})


def transcript_key(audio: SourceFile, wanted: Wanted) -> str:
    """Return the cache key of a transcript: the audio, the models and every parameter."""
    return content_key(
        kind=TRANSCRIPT,
        core=CORE_VERSION,
        audio=audio.sha256,
        models=digest_of(wanted.pinned(name) for name in models_for(wanted)),
        **wanted.model_dump(),
    )


@task(**BY_CONTENT, **RETRY_COMPUTE)
def hear(key: str, audio: SourceFile, wanted: Wanted) -> Artefact:
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
        _write(folder, audio, wanted)

    return artefacts().made_once(TRANSCRIPT, key, make)


def _write(folder: Path, audio: SourceFile, wanted: Wanted) -> None:
    from musetalk_core.transcription.writing import write_transcript

    with phase("features") as report:
        samples = decoded(audio)
        worth_hearing = _clips(samples, wanted, report)
    with phase("render") as report:
        transcript = (
            _heard(samples, worth_hearing, wanted, report)
            if worth_hearing  # without speech no model is loaded
            else Transcript.of_nothing(seconds(samples), wanted.language)
        )
    write_transcript(transcript, folder, {"model": wanted.size, "task": wanted.task})


def _heard(samples: PcmFile, worth_hearing: list[Span], wanted: Wanted, report: Report) -> Transcript:
    from musetalk_core.transcription.decoding import Options
    from musetalk_core.transcription.listening import listen

    def on_seconds(done: float, total: float) -> None:
        report.advance("render", round(done), round(total))  # also checks for cancellation

    options = Options(wanted.task, wanted.beam_size, words=wanted.words)
    choice = Choice(wanted.size)
    loaded = hearing(choice, wanted.pinned(choice.model))
    return listen(samples, worth_hearing, loaded, wanted.language, options, on_seconds)


def _clips(samples: PcmFile, wanted: Wanted, report: Report) -> list[Span]:
    total_s = seconds(samples)
    if not wanted.gate:
        return [Span(0.0, total_s)]
    from musetalk_core.transcription.voice_activity import speech_spans

    def on_seconds(done: float) -> None:
        report.advance("features", round(done), round(total_s))

    network = voice_activity(wanted.pinned(VOICE_ACTIVITY))
    return clips(speech_spans(samples, network, on_seconds), total_s)


def read_transcript(made: Artefact) -> dict[str, Any]:
    """Return the JSON document of a transcript from its cache entry."""
    content: dict[str, Any] = json.loads(
        artefacts().file(made, "transcript.json").read_text(encoding="utf-8")
    )
    return content


def show_transcript(found: Mapping[str, Any]) -> None:
    """
    Create the table artifact `transcript` of the current run; an error of Prefect does not fail the job.

    Args:
        transcript: the document of `read_transcript`.
    """
    segments = found["segments"]
    rows = [
        {"from": clock(s["start"]), "to": clock(s["end"]), "text": s["text"], "confidence": s["confidence"]}
        for s in segments[:_ROWS]
    ]
    rest = (
        f"; first {_ROWS} of {len(segments)} segments, all are in the files" if len(segments) > _ROWS else ""
    )
    told = f"{found['language'] or 'no speech'}, transcribed by Whisper {found['model']}{rest}"
    try:
        create_table_artifact(key="transcript", table=rows, description=told)
    except Exception as error:
        _log.warning("the artifact of the transcript was not created: %s", error)


def clock(seconds: float) -> str:
    """Format a time in seconds as h:mm:ss.d."""
    tenths = round(seconds * 10)
    return f"{tenths // 36000}:{tenths // 600 % 60:02}:{tenths // 10 % 60:02}.{tenths % 10}"
