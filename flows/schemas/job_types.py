"""
Registry of the media job types, which read media files; most of them write one.

To add a job type, write its schemas and its flow file, and add a line here.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from pydantic import BaseModel

from flows.schemas.analyze import AnalyzeJob, AnalyzeResult
from flows.schemas.base import JobParameters
from flows.schemas.caption import CaptionJob, CaptionResult
from flows.schemas.speech import SpeechJob, SpeechResult
from flows.schemas.transcribe import TranscribeJob, TranscribeResult
from flows.schemas.verify import VerifyJob, VerifyResult
from flows.schemas.video import LipSyncJob, PortraitJob, PrepareAvatarJob, PrepareAvatarResult, VideoResult


@dataclass(frozen=True, slots=True)
class JobType:
    """A job type: its name, title, request and result schemas, and work pool."""

    name: str
    title: str
    """Name of its deployment, which Prefect's pages show."""
    job: type[JobParameters]
    result: type[BaseModel]
    pool: str = "gpu"
    model_check: str | None = None
    """Module path of a function that takes a job, returns warnings about substituted models, and raises if
    the installed models cannot run it."""
    default: JobParameters | None = None
    """Default of the flow parameter `job`, as in the flow's signature; None: the parameter is required."""

    @property
    def deployment(self) -> str:
        """Deployment name as Prefect writes it, `flow-name/deployment-name`: `lip_sync/Lip sync`."""
        return f"{self.name}/{self.title}"

    @property
    def entrypoint(self) -> str:
        """Module path of the flow function. A file path would import the flow a second time."""
        return f"flows.{self.name}.{self.name}"

    def check_models(self, job: Any) -> list[str]:
        """
        Check that the models for a job are installed. Loads no model.

        Returns:
            A warning for each model that another one substitutes.

        Raises:
            ModelNotInstalled: a model is missing, and the job allows no substitute or there is none.
        """
        if self.model_check is None:
            return []
        # imported by name to keep the registry's imports light
        module, _, name = self.model_check.rpartition(".")
        warnings: list[str] = getattr(import_module(module), name)(job)
        return warnings


_MODEL_CHECKS: Final = "flows.media.model_selection"

MEDIA_JOB_TYPES: Final = {
    job_type.name: job_type
    for job_type in (
        JobType(
            "lip_sync",
            "Lip sync",
            LipSyncJob,
            VideoResult,
            model_check=f"{_MODEL_CHECKS}.check_engine",
        ),
        JobType(
            "portrait",
            "Talking portrait",
            PortraitJob,
            VideoResult,
            model_check=f"{_MODEL_CHECKS}.check_portrait",
        ),
        JobType(
            "prepare_avatar",
            "Avatar preparation",
            PrepareAvatarJob,
            PrepareAvatarResult,
            model_check=f"{_MODEL_CHECKS}.check_engine",
        ),
        JobType(
            "speech",
            "Text to speech",
            SpeechJob,
            SpeechResult,
            model_check=f"{_MODEL_CHECKS}.check_voice",
        ),
        JobType(
            "transcribe",
            "Transcription",
            TranscribeJob,
            TranscribeResult,
            model_check=f"{_MODEL_CHECKS}.check_transcription",
        ),
        JobType(
            "analyze",
            "Image analysis",
            AnalyzeJob,
            AnalyzeResult,
            model_check=f"{_MODEL_CHECKS}.check_analysis",
        ),
        JobType("caption", "Captions", CaptionJob, CaptionResult),
        JobType("verify", "Verification", VerifyJob, VerifyResult, "light"),
    )
}
"""Media job types by name."""
