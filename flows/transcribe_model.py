"""Selection of the Whisper model for a job. Checks files only and loads no model."""

from flows.transcribe_schemas import TranscribeJob
from musetalk_core.transcription.choice import ModelChoice
from tasks.transcribers import choose_whisper


def resolve_transcription_model(job: TranscribeJob) -> ModelChoice:
    """
    Return the Whisper model for a job.

    Raises:
        ModelNotInstalled: no installed model can run the job.
    """
    return choose_whisper(job.model, job.task, job.language, job.if_missing)
