"""The `transcribe` flow: speech to text with Whisper."""

from typing import Any

from prefect import flow

from flows.control import USUAL, Control
from flows.options import JOB
from flows.output_names import TRANSCRIPT_FORMATS, transcript_stem
from flows.schemas import TranscribeJob, TranscribeResult
from flows.steps import Steps, job_steps
from flows.transcribe_model import model_for
from musetalk_core.transcription.choice import Choice
from tasks.fetch import fetch
from tasks.output_locations import check_output_location
from tasks.publish import Published, upload_set
from tasks.refs import Artefact, SourceFile
from tasks.transcribe import (
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
    """Transcribe the speech with Whisper and upload it as text, JSON, SRT, VTT and TSV."""
    with job_steps(job) as steps:
        check_output_location("transcript.txt", job.output)
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
        made = steps.run_with_pinned_models(lambda: _heard(audio, pinned_transcription(wanted), steps))
        found = read_transcript(made)
        stem = transcript_stem(job.output, audio.name)
        stored = _uploaded(made, stem, job)
        result = TranscribeResult(
            **found,
            speech_s=round(sum(span["end"] - span["start"] for span in found["speech"]), 3),
            name=stored[TRANSCRIPT_FORMATS.index("txt")].name,
            files={one.name: steps.stored(one) for one in stored},
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


def _uploaded(made: Artefact, stem: str, job: TranscribeJob) -> list[Published]:
    names = {f"transcript.{ending}": f"{stem}.{ending}" for ending in TRANSCRIPT_FORMATS}
    return upload_set(made, names, job.output)


def _warnings(job: TranscribeJob, choice: Choice, found: dict[str, Any]) -> list[str]:
    out: list[str] = []
    if choice.instead_of:
        out.append(f"model_substituted: {choice.instead_of} is not installed; {choice.size} was used")
    if choice.is_english_only and not job.language:
        out.append(f"language_not_detected: {choice.size} supports English only")
    if job.word_timestamps and job.task == "translate":
        out.append("no_word_times: translations have no word timestamps")
    if not found["segments"]:
        out.append("no_speech: no speech was detected")
    return out
