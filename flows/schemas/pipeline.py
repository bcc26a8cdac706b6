"""Request and result schemas of pipelines: steps that use each other's outputs. Pure pydantic."""

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Final, Literal, Self
from uuid import NAMESPACE_OID, UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from flows.schemas.base import FALLBACK_FIELD, OUTPUT_FIELD, JobParameters, Output, Warnings
from flows.schemas.job_types import MEDIA_JOB_TYPES
from flows.schemas.label import LABEL_FIELD, MARK_FIELD, MarkChoice, MediaLabel
from flows.schemas.musetalk import MUSETALK_FIELD, VERSION_FIELD, MuseTalkOptions, Version
from flows.schemas.transcribe import WhisperSize
from flows.schemas.video import (
    FACE_HELP,
    FAIL_BELOW_FIELD,
    QUALITY_FIELD,
    Engine,
    FaceChoice,
    QualityChoice,
    VideoOptions,
)
from tasks.refs import MediaUri, ObjectRef

StepName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
StepType = Literal[
    "lip_sync", "portrait", "prepare_avatar", "speech", "transcribe", "analyze", "caption", "verify"
]

MAX_STEPS: Final = 50
"""Maximum number of steps of a pipeline."""
_STEP_REFERENCE: Final = re.compile(r"job://([a-z][a-z0-9_]{0,31})(/[^/]{1,765})?")
"""Reference to a step. It never matches a job id, because UUIDs contain hyphens."""


class Step(BaseModel):
    """One step of a pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: StepName = Field(
        title="Name", description="Other steps refer to this step as job://NAME.", examples=["speak"]
    )
    type: StepType = Field(title="Job type", description="Job type of the step.", examples=["speech"])
    job: dict[str, Any] = Field(
        title="Job",
        description="Fields of the job, as for a single job of that type. job://NAME refers to"
        " the output of the step NAME; job://NAME/srt to its output file with the extension srt.",
        examples=[{"text": "Good morning."}],
    )

    @field_validator("job")
    @classmethod
    def _validate_job(cls, job: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "type" in info.data:
            # pydantic merges a ValidationError raised here, so each error keeps its field location
            MEDIA_JOB_TYPES[info.data["type"]].job.model_validate(
                resolve_step_references(job, placeholder_id)
            )
        return job

    @property
    def needs(self) -> frozenset[str]:
        """Names of the steps whose outputs this step uses."""
        return frozenset(match[1] for match in _find_step_references(self.job))


class PipelineJob(JobParameters):
    """Run several jobs that use each other's outputs as one pipeline."""

    steps: tuple[Step, ...] = Field(
        max_length=MAX_STEPS,
        title="Steps",
        description="In any order: a step starts when the steps it refers to have succeeded;"
        " independent steps run in parallel.",
        examples=[
            [
                {"name": "speak", "type": "speech", "job": {"text": "Good morning."}},
                {
                    "name": "talk",
                    "type": "lip_sync",
                    "job": {"video": "s3://media/anna.mp4", "audio": "job://speak"},
                },
                {"name": "captions", "type": "transcribe", "job": {"audio": "job://talk"}},
            ]
        ],
    )

    @model_validator(mode="after")
    def _validate_graph(self) -> Self:
        if not self.steps:
            raise ValueError("a pipeline needs at least one step")
        names = [step.name for step in self.steps]
        if duplicate := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two steps have the name {duplicate}")
        for step in self.steps:
            if unknown := sorted(step.needs - set(names)):
                raise ValueError(f"step {step.name} refers to job://{unknown[0]}, but no step has that name")
        try:
            TopologicalSorter({step.name: step.needs for step in self.steps}).prepare()
        except CycleError as error:
            raise ValueError(
                "the steps depend on each other in a cycle: " + " > ".join(error.args[1])
            ) from None
        return self


def placeholder_id(name: str) -> UUID:
    """Return the id of a job that does not exist, for a step that has no job yet."""
    return uuid5(NAMESPACE_OID, f"step {name}")


def resolve_step_references(value: Any, job_of: Any) -> Any:
    """
    Replace references to steps by references to their jobs.

    Args:
        value:  fields of a job, or a part of them.
        job_of: returns the job id for a step name.
    """
    match value:
        case str():
            reference = _STEP_REFERENCE.fullmatch(value)
            return f"job://{job_of(reference[1])}{reference[2] or ''}" if reference else value
        case Mapping():
            return {name: resolve_step_references(part, job_of) for name, part in value.items()}  # pyright: ignore
        case list() | tuple():
            return [resolve_step_references(part, job_of) for part in value]  # pyright: ignore
        case _:
            return value


def _find_step_references(value: Any) -> Iterator[re.Match[str]]:
    match value:
        case str():
            if reference := _STEP_REFERENCE.fullmatch(value):
                yield reference
        case Mapping():
            for part in value.values():  # pyright: ignore
                yield from _find_step_references(part)
        case list() | tuple():
            for part in value:  # pyright: ignore
                yield from _find_step_references(part)
        case _:
            return


class PersonaSyncJob(JobParameters):
    """Lip-sync a video to a voice recording and caption it: video, transcript and captions in one job."""

    video: MediaUri = Field(
        title="Video",
        description="Video of the person: s3://, https://, asset:// or job://.",
        examples=["s3://media/clips/anna.mp4"],
    )
    audio: MediaUri = Field(
        title="Speech", description="Audio file with the speech.", examples=["s3://media/voices/hello.wav"]
    )
    text: str | None = Field(
        default=None,
        max_length=100_000,
        title="Transcript",
        description="Words of the speech (English), if known; improves the lip movements.",
        examples=["My mother bought five big blue balloons."],
    )
    captions: Literal["none", "sidecar", "track", "burned"] = Field(
        default="sidecar",
        title="Captions",
        description="none: no captions; sidecar: files beside the video; track: a subtitle track"
        " in the video; burned: drawn into the picture.",
    )
    language: str = Field(
        default="",
        max_length=32,
        title="Caption language",
        description="Spoken language. Empty: detected.",
        examples=["en"],
    )
    model: WhisperSize | None = Field(
        default=None, title="Caption model", description="Whisper model size. Empty: the best installed one."
    )
    engine: Engine = Field(default="auto", title="Engine", description="Rendering engine.")
    fallback: bool = FALLBACK_FIELD
    version: Version = VERSION_FIELD
    musetalk: MuseTalkOptions = MUSETALK_FIELD
    face: FaceChoice = Field(default="largest", title="Face", description=FACE_HELP)
    encode: VideoOptions = Field(
        default=VideoOptions(), title="Encoding", description="Quality and size of the output video."
    )
    label: MediaLabel = LABEL_FIELD
    imperceptible_mark: MarkChoice | None = MARK_FIELD
    quality: QualityChoice | None = QUALITY_FIELD
    fail_below: float = FAIL_BELOW_FIELD
    output: Output = OUTPUT_FIELD


class StepView(BaseModel):
    """The outcome of a step."""

    type: str
    job: UUID = Field(description="Child job; see /v1/jobs/ID.")
    name: str | None = Field(description="Name of its main output file.")
    files: dict[str, ObjectRef] = Field(description="All output files by name.")
    reused: bool = Field(
        description="Whether an earlier result was reused, of this pipeline or of the one that it retries."
    )


class PipelineResult(BaseModel):
    """The outputs of a pipeline."""

    steps: dict[str, StepView] = Field(
        description="Outcome of each step by name, in the order of the request."
    )
    name: str | None = Field(description="Name of the main output file, which is that of the last step.")
    video: ObjectRef | None = Field(default=None, description="Main output file, if it is a video or image.")
    audio: ObjectRef | None = Field(default=None, description="Main output file, if it is audio.")
    files: dict[str, ObjectRef] = Field(description="Output files of the last step by name.")
    timings_s: dict[str, float] = Field(description="Running time of each step's job in seconds.")
    warnings: Warnings = []
