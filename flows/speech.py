"""speech: speak a text."""

from prefect import flow

from flows.control import USUAL, Control
from flows.options import JOB
from flows.schemas import SpeechJob, SpeechResult
from flows.steps import job_steps
from musetalk_core.media.probe import probe
from musetalk_core.speech.voice import VOICE
from tasks.artefacts import artefacts
from tasks.publish import check_place, upload
from tasks.voice import WAV, speak, speech_key


@flow(name="speech", **JOB)
def speech(job: SpeechJob, control: Control = USUAL) -> SpeechResult:
    """Speak the text with the starter voice and upload the sound."""
    with job_steps() as steps:
        name = f"{(job.output.name or 'speech').removesuffix('.wav')}.wav"
        check_place(name, job.output.bucket, job.output.prefix)
        key = speech_key(job.text, job.speed, job.pause_duration, job.seed)
        spoken = steps.result("speak", speak.submit(key, job.text, job.speed, job.pause_duration, job.seed))
        stored = upload(spoken, WAV, name, job.output.bucket, job.output.prefix)
        length = probe(artefacts().path(spoken) / WAV).duration_s
        result = SpeechResult(
            audio=stored,
            name=name,
            text=job.text,
            voice=VOICE,
            duration_s=float(length or 0),
            speech=spoken,
            cached=steps.cached,
            timings_s=steps.timings(),
        )
        steps.finish(result)
    return result
