"""The `speech` flow: text to speech."""

from prefect import flow

from flows.control import USUAL, Control
from flows.options import JOB
from flows.output_names import sound_name
from flows.schemas import SpeechJob, SpeechResult
from flows.speaking import Speech, speak_text
from flows.speech_schemas import SoundFormat
from flows.steps import Steps, job_steps
from tasks.output_locations import check_output_location
from tasks.publish import Published, upload
from tasks.speech import WAV_FILE
from tasks.voice import encode_speech, file_key


@flow(name="speech", **JOB)
def speech(job: SpeechJob, control: Control = USUAL) -> SpeechResult:
    """Synthesize the text sentence by sentence, join the sentences, and upload the audio."""
    with job_steps(job, speak=(5, 92)) as steps:
        name, kind = sound_name(job.output.name, job.format)
        check_output_location(name, job.output)
        spoken = speak_text(job.parts, job, steps)
        stored = _stored(spoken, name, kind, job, steps)
        result = SpeechResult(
            audio=steps.stored(stored),
            name=stored.name,
            text=" ".join(job.parts),
            engine=spoken.spec.engine,
            voice=spoken.spec.called,
            duration_s=round(spoken.made.duration_s, 6),
            sentences=len(spoken.sentences),
            spoken=spoken.spoken,
            speech=spoken.made.artefact,
            cached=steps.cached,
            timings_s=steps.timings(),
            warnings=spoken.warnings,
        )
        steps.finish(result)
    return result


def _stored(spoken: Speech, name: str, kind: SoundFormat, job: SpeechJob, steps: Steps) -> Published:
    sound = spoken.made.artefact
    if kind == "wav":
        return upload(sound, WAV_FILE, name, job.output)
    made = steps.result("encode", encode_speech.submit(file_key(sound, kind), sound, kind))
    return upload(made, f"speech.{kind}", name, job.output)
