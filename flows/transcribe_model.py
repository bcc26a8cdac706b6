"""Which model a transcription gets on this computer; looks at files, loads nothing."""

from flows.transcribe_schemas import TranscribeJob
from musetalk_core.transcription.choice import Choice
from tasks.transcribers import chosen


def model_for(job: TranscribeJob) -> Choice:
    """
    Choose.

    Raises:
        ModelNotInstalled: none that is installed can do it.
    """
    return chosen(job.model, job.task, job.language, job.if_missing)
