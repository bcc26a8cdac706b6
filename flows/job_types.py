"""The job types that do the work, files in, a file out. A new one: schemas, a flow file, and a line here."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from pydantic import BaseModel

from flows import schemas


@dataclass(frozen=True, slots=True)
class JobType:
    """One entry: its name, its shapes and where it runs."""

    name: str
    job: type[schemas.Job]
    result: type[BaseModel]
    pool: str = "gpu"
    needs: str | None = None
    """Module path of what takes a job and raises when the models of this computer cannot do it."""
    default: schemas.Job | None = None
    """Default of the parameter `job`, as in the flow's signature; None: the parameter is required."""

    @property
    def deployment(self) -> str:
        """Prefect's `flow-name/deployment-name`."""
        return f"{self.name}/{self.pool}"

    @property
    def entrypoint(self) -> str:
        """Module path, never a file path: that would import the flow twice."""
        return f"flows.{self.name}.{self.name}"

    def require_models(self, job: Any) -> None:
        """
        See that the models of this computer can do a job; nothing is loaded.

        Raises:
            ModelNotInstalled: they cannot.
        """
        if self.needs is not None:  # a name, so that importing the registry stays light
            module, _, name = self.needs.rpartition(".")
            getattr(import_module(module), name)(job)


WORK_TYPES: Final = {
    job_type.name: job_type
    for job_type in (
        JobType("lip_sync", schemas.LipSyncJob, schemas.VideoResult),
        JobType("portrait", schemas.PortraitJob, schemas.VideoResult),
        JobType("prepare_avatar", schemas.PrepareAvatarJob, schemas.PrepareAvatarResult),
        JobType("speech", schemas.SpeechJob, schemas.SpeechResult, needs="flows.voice_choice.settled_voice"),
        JobType(
            "transcribe",
            schemas.TranscribeJob,
            schemas.TranscribeResult,
            needs="flows.transcribe_model.model_for",
        ),
        JobType("analyze", schemas.AnalyzeJob, schemas.AnalyzeResult, needs="flows.analyze_cast.cast_of"),
        JobType("caption", schemas.CaptionJob, schemas.CaptionResult),
    )
}
