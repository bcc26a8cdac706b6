"""The `speech` flow: text to speech."""

from prefect import flow

from flows.media.context import JobContext, job_context
from flows.media.imperceptible_mark import mark_key_id
from flows.media.labels import spoken_notice
from flows.media.speech_synthesis import SynthesizedSpeech, synthesize_text
from flows.media.statements import SPEECH
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.control import DEFAULT_CONTROL, Control
from flows.schemas.speech import AudioFormat, SpeechJob, SpeechResult
from flows.storage.output_names import speech_file_name
from tasks.catalog.output_locations import check_output_location
from tasks.catalog.outputs import PublishedFile
from tasks.steps.speak import encode_speech, speech_file_key, speech_tags
from tasks.steps.speech_features import WAV_FILE


@flow(name="speech", **FLOW_OPTIONS)
def speech(job: SpeechJob, control: Control = DEFAULT_CONTROL) -> SpeechResult:
    """Synthesize the text sentence by sentence, join the sentences, and upload the audio."""
    with job_context(job, speak=(5, 92)) as context:
        name, audio_format = speech_file_name(job.output.name, job.format)
        check_output_location(name, job.output)
        texts = [*spoken_notice(job.label, control.tenant), *job.parts]
        spoken = synthesize_text(
            texts,
            job,
            context,
            fallback=job.fallback,
            mark=mark_key_id(job.imperceptible_mark),
        )
        stored = _store(spoken, name, audio_format, job, context)
        result = SpeechResult(
            audio=stored.ref,
            name=stored.name,
            text=" ".join(texts),
            engine=spoken.spec.engine,
            voice=spoken.spec.display_name,
            duration_s=round(spoken.audio.duration_s, 6),
            sentences=len(spoken.sentences),
            spoken=spoken.synthesized_count,
            speech=spoken.audio.artefact,
            cached=context.cached,
            provenance=context.provenance,
            timings_s=context.timings(),
            warnings=[*context.warnings, *spoken.warnings],
        )
        context.finish(result)
    return result


def _store(
    spoken: SynthesizedSpeech, name: str, audio_format: AudioFormat, job: SpeechJob, context: JobContext
) -> PublishedFile:
    audio = spoken.audio.artefact
    if audio_format == "wav":
        return context.publish(audio, {WAV_FILE: name}, job.output, SPEECH)[0]
    engine = spoken.spec.engine
    key = speech_file_key(audio, audio_format, speech_tags(engine))
    encoded = context.wait_for("encode", encode_speech.submit(key, audio, audio_format, engine))
    return context.publish(encoded, {f"speech.{audio_format}": name}, job.output, SPEECH)[0]
