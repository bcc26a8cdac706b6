"""
Registry of the media job types, which read media files and write one.

To add a job type, write its schemas and its flow file, and add a line here.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from pydantic import BaseModel

from flows import schemas


@dataclass(frozen=True, slots=True)
class JobType:
    """A job type: its name, request and result schemas, and work pool."""

    name: str
    job: type[schemas.JobParameters]
    result: type[BaseModel]
    pool: str = "gpu"
    model_check: str | None = None
    """Module path of a function that takes a job and raises if the installed models cannot run it."""
    default: schemas.JobParameters | None = None
    """Default of the flow parameter `job`, as in the flow's signature; None: the parameter is required."""

    @property
    def deployment(self) -> str:
        """Deployment name as Prefect writes it, `flow-name/deployment-name`."""
        return f"{self.name}/{self.pool}"

    @property
    def entrypoint(self) -> str:
        """Module path of the flow function. A file path would import the flow a second time."""
        return f"flows.{self.name}.{self.name}"

    def require_models(self, job: Any) -> None:
        """
        Check that the models for a job are installed. Loads no model.

        Raises:
            ModelNotInstalled: a model is missing.
        """
        if self.model_check is not None:  # imported by name to keep the registry's imports light
            module, _, name = self.model_check.rpartition(".")
            getattr(import_module(module), name)(job)


MEDIA_JOB_TYPES: Final = {
    job_type.name: job_type
    for job_type in (
        JobType("lip_sync", schemas.LipSyncJob, schemas.VideoResult),
        JobType("portrait", schemas.PortraitJob, schemas.VideoResult),
        JobType("prepare_avatar", schemas.PrepareAvatarJob, schemas.PrepareAvatarResult),
        JobType(
            "speech", schemas.SpeechJob, schemas.SpeechResult, model_check="flows.voice_choice.resolve_voice"
        ),
        JobType(
            "transcribe",
            schemas.TranscribeJob,
            schemas.TranscribeResult,
            model_check="flows.transcribe_model.resolve_transcription_model",
        ),
        JobType(
            "analyze", schemas.AnalyzeJob, schemas.AnalyzeResult, model_check="flows.analyze_cast.select_analysis_models"
        ),
        JobType("caption", schemas.CaptionJob, schemas.CaptionResult),
    )
}
"""Media job types by name."""
