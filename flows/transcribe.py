"""The `transcribe` flow: speech to text with Whisper."""

from typing import Any

from prefect import flow

from flows.media.context import JobContext, job_context
from flows.media.model_selection import resolve_transcription
from flows.media.statements import TRANSCRIPT
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.schemas.transcribe import TranscribeJob, TranscribeResult
from flows.storage.output_names import TRANSCRIPT_FORMATS, transcript_stem
from musetalk_core.transcription.model_choice import ModelChoice
from musetalk_core.warning_codes import WarningCode
from tasks.catalog.output_locations import check_output_location
from tasks.catalog.spoken_languages import note_spoken_language
from tasks.models.whisper import language_code
from tasks.refs import Artefact, SourceFile
from tasks.steps.fetch import fetch
from tasks.steps.sound import NO_SPEECH, level_warnings
from tasks.steps.transcribe import (
    TranscriptionRequest,
    hear,
    pin_transcription,
    read_transcript,
    show_transcript,
    transcript_key,
)


@flow(name="transcribe", **FLOW_OPTIONS)
def transcribe(job: TranscribeJob, control: Control = DEFAULT_CONTROL) -> TranscribeResult:
    """Transcribe the speech with Whisper and upload it as text, JSON, SRT, VTT and TSV."""
    with job_context(job) as context:
        check_output_location("transcript.txt", job.output)
        choice, engine, substitutions = resolve_transcription(job)
        request = TranscriptionRequest(
            size=choice.size,
            task=job.task,
            language=language_code(job.language),
            beam_size=job.beam_size,
            words=job.word_timestamps and job.task == "transcribe",
            gate=job.skip_silence,
            engine=engine,
        )
        audio = context.wait_for_input(fetch.submit(job.audio, "audio")).source
        context.record_choice(transcription=request.model_dump())
        context.record_engine("whisper")
        transcript_artifact = context.run_with_pinned_models(
            lambda: _transcribe(audio, pin_transcription(request), context)
        )
        transcript = read_transcript(transcript_artifact)
        context.warn(*level_warnings(audio), *substitutions, *_warnings(job, choice, transcript))
        if not request.language and transcript["segments"] and transcript["language_probability"]:
            note_spoken_language(
                audio, transcript["model"], transcript["language"], transcript["language_probability"]
            )
        stem = transcript_stem(job.output, audio.name)
        names = {f"transcript.{ending}": f"{stem}.{ending}" for ending in TRANSCRIPT_FORMATS}
        stored = context.publish(transcript_artifact, names, job.output, TRANSCRIPT)
        result = TranscribeResult(
            **transcript,
            engine=engine,
            speech_s=round(sum(span["end"] - span["start"] for span in transcript["speech"]), 3),
            name=stored[TRANSCRIPT_FORMATS.index("txt")].name,
            files={one.name: one.ref for one in stored},
            cached=context.cached,
            provenance=context.provenance,
            timings_s=context.timings(),
            warnings=context.warnings,
        )
        show_transcript(transcript)
        context.finish(result)
    return result


def _transcribe(audio: SourceFile, request: TranscriptionRequest, context: JobContext) -> Artefact:
    context.record_models(*request.weights)
    return context.wait_for("hear", hear.submit(transcript_key(audio, request), audio, request))


def _warnings(job: TranscribeJob, choice: ModelChoice, transcript: dict[str, Any]) -> list[str]:
    warnings: list[str] = []
    if choice.is_english_only and not job.language:
        warnings.append(WarningCode.LANGUAGE_NOT_DETECTED(f"{choice.size} supports English only"))
    if job.word_timestamps and job.task == "translate":
        warnings.append(WarningCode.NO_WORD_TIMES("translations have no word timestamps"))
    if not transcript["segments"]:
        warnings.append(NO_SPEECH)
    return warnings
