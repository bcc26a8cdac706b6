"""transcribe: write down what is said."""

from typing import Any

from prefect import flow

from flows.control import USUAL, Control
from flows.options import JOB
from flows.schemas import TranscribeJob, TranscribeResult
from flows.steps import Steps, job_steps
from flows.transcribe_model import model_for
from musetalk_core.transcription.choice import Choice
from tasks.fetch import fetch
from tasks.publish import check_place, upload
from tasks.refs import Artefact, ObjectRef, SourceFile, safe_stem
from tasks.transcribe import (
    FORMATS,
    Wanted,
    hear,
    pinned_transcription,
    read_transcript,
    show_transcript,
    transcript_key,
)
from tasks.transcribers import language_code


@flow(name="transcribe", **JOB)
def transcribe(job: TranscribeJob, control: Control = USUAL) -> TranscribeResult:
    """Hear the speech with Whisper and upload the transcript as text, JSON, subtitles and a table."""
    with job_steps(job) as steps:
        check_place("transcript.txt", job.output.bucket, job.output.prefix)
        choice = model_for(job)
        wanted = Wanted(
            size=choice.size,
            task=job.task,
            language=language_code(job.language),
            beam_size=job.beam_size,
            words=job.word_timestamps and job.task == "transcribe",
            gate=job.skip_silence,
        )
        audio = steps.fetched(fetch.submit(job.audio, "audio")).source
        steps.settled(transcription=wanted.model_dump())
        made = steps.with_models(lambda: _heard(audio, pinned_transcription(wanted), steps))
        found = read_transcript(made)
        stem = _stem(job.output.name or safe_stem(audio.name))
        result = TranscribeResult(
            **found,
            speech_s=round(sum(span["end"] - span["start"] for span in found["speech"]), 3),
            name=f"{stem}.txt",
            files=_uploaded(steps, made, stem, job),
            cached=steps.cached,
            timings_s=steps.timings(),
            warnings=_warnings(job, choice, found),
        )
        show_transcript(found)
        steps.finish(result)
    return result


def _heard(audio: SourceFile, wanted: Wanted, steps: Steps) -> Artefact:
    steps.used(*wanted.weights)
    return steps.result("hear", hear.submit(transcript_key(audio, wanted), audio, wanted))


def _stem(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    return stem if stem and ending in FORMATS else name


def _uploaded(steps: Steps, made: Artefact, stem: str, job: TranscribeJob) -> dict[str, ObjectRef]:
    names = {f"{stem}.{ending}": f"transcript.{ending}" for ending in FORMATS}
    coming = {
        name: upload.submit(made, file, name, job.output.bucket, job.output.prefix)
        for name, file in names.items()
    }
    return {name: steps.stored(steps.result("upload", future)) for name, future in coming.items()}


def _warnings(job: TranscribeJob, choice: Choice, found: dict[str, Any]) -> list[str]:
    out: list[str] = []
    if choice.instead_of:
        out.append(f"model_substituted: {choice.instead_of} is not installed; {choice.size} was used")
    if choice.is_english_only and not job.language:
        out.append(f"language_not_detected: {choice.size} takes everything for English")
    if job.word_timestamps and job.task == "translate":
        out.append("no_word_times: words of a translation have none")
    if not found["segments"]:
        out.append("no_speech: nobody was heard to speak")
    return out
