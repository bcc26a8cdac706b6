"""Selection of the Whisper model for a job. Checks files only and loads no model."""

from flows.transcribe_schemas import TranscribeJob
from musetalk_core.transcription.choice import Choice
from tasks.transcribers import chosen


def model_for(job: TranscribeJob) -> Choice:
    """
    Return the Whisper model for a job.

    Raises:
        ModelNotInstalled: no installed model can run the job.
    """
    return chosen(job.model, job.task, job.language, job.if_missing)
