"""speech: speak a text."""

from typing import get_args

from prefect import flow

from flows.control import USUAL, Control
from flows.options import JOB
from flows.schemas import SpeechJob, SpeechResult
from flows.speaking import Speech, speak_text
from flows.speech_schemas import SoundFormat
from flows.steps import Steps, job_steps
from tasks.file_names import fitted
from tasks.publish import Published, check_place, upload
from tasks.speech import WAV_FILE
from tasks.voice import encode_speech, file_key

_FORMATS: tuple[SoundFormat, ...] = get_args(SoundFormat)


@flow(name="speech", **JOB)
def speech(job: SpeechJob, control: Control = USUAL) -> SpeechResult:
    """Speak the text sentence by sentence, join the sentences, and upload the sound."""
    with job_steps(job, speak=(5, 92)) as steps:
        name, kind = named(job.output.name, job.format)
        check_place(name, job.output)
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


def named(given: str | None, kind: SoundFormat | None) -> tuple[str, SoundFormat]:
    """Name the file: an ending that is none of ours stays part of the name."""
    stem, _, ending = (given or "speech").rpartition(".")
    known: SoundFormat | None = next((one for one in _FORMATS if stem and one == ending.lower()), None)
    chosen: SoundFormat = kind or known or "mp3"
    return fitted(stem if known else given or "speech", f".{chosen}"), chosen


def _stored(spoken: Speech, name: str, kind: SoundFormat, job: SpeechJob, steps: Steps) -> Published:
    sound = spoken.made.artefact
    if kind == "wav":
        return upload(sound, WAV_FILE, name, job.output)
    made = steps.result("encode", encode_speech.submit(file_key(sound, kind), sound, kind))
    return upload(made, f"speech.{kind}", name, job.output)
