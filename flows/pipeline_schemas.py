"""What the pipeline job takes and gives: steps that take in what others made. Pure pydantic."""

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Final, Literal, Self
from uuid import NAMESPACE_OID, UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from flows.job import OUTPUT, Job, Output
from flows.job_types import WORK_TYPES
from flows.musetalk_options import OPTIONS, VERSION, MuseTalkOptions, Version
from flows.schemas import Engine, FaceChoice, VideoOptions, WhisperSize
from tasks.refs import MediaUri, ObjectRef

StepName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
StepType = Literal["lip_sync", "portrait", "prepare_avatar", "speech", "transcribe", "analyze", "caption"]

MOST_STEPS: Final = 50
_REFERENCE: Final = re.compile(r"job://([a-z][a-z0-9_]{0,31})(/[^/]{1,765})?")
"""Never a UUID: those have hyphens."""


class Step(BaseModel):
    """One job of a pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: StepName = Field(
        title="Name", description="What other steps call it: job://NAME.", examples=["speak"]
    )
    type: StepType = Field(title="Type", description="Of job.", examples=["speech"])
    job: dict[str, Any] = Field(
        title="Job",
        description="Its fields, as for a job of that type alone. job://NAME is what the step of that name"
        " made; job://NAME/srt the one of its files that ends so.",
        examples=[{"text": "Good morning."}],
    )

    @field_validator("job")
    @classmethod
    def _is_a_job(cls, job: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "type" in info.data:
            # errors keep their places: a ValidationError in a validator is taken apart by pydantic
            WORK_TYPES[info.data["type"]].job.model_validate(resolved(job, placeholder))
        return job

    @property
    def needs(self) -> frozenset[str]:
        """Names of the steps whose results it takes in."""
        return frozenset(match[1] for match in _references(self.job))


class PipelineJob(Job):
    """Do several jobs that take in each other's results, as one."""

    steps: tuple[Step, ...] = Field(
        max_length=MOST_STEPS,
        title="Steps",
        description="In any order: a step begins when those that it names have ended; others run beside it.",
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
    def _is_a_graph(self) -> Self:
        if not self.steps:
            raise ValueError("a pipeline has at least one step")
        names = [step.name for step in self.steps]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two steps are called {twice}")
        for step in self.steps:
            if unknown := sorted(step.needs - set(names)):
                raise ValueError(f"step {step.name} takes in job://{unknown[0]}, and no step is called so")
        try:
            TopologicalSorter({step.name: step.needs for step in self.steps}).prepare()
        except CycleError as error:
            raise ValueError("steps wait for each other: " + " > ".join(error.args[1])) from None
        return self


def placeholder(name: str) -> UUID:
    """Return an id that no job has, for a step that has none yet."""
    return uuid5(NAMESPACE_OID, f"step {name}")


def resolved(value: Any, job_of: Any) -> Any:
    """
    Put jobs in place of the steps that a job names.

    Args:
        value:  a job's fields, or a part of them.
        job_of: gives the id of a step's job by its name.
    """
    match value:
        case str():
            found = _REFERENCE.fullmatch(value)
            return f"job://{job_of(found[1])}{found[2] or ''}" if found else value
        case Mapping():
            return {name: resolved(part, job_of) for name, part in value.items()}  # pyright: ignore
        case list() | tuple():
            return [resolved(part, job_of) for part in value]  # pyright: ignore
        case _:
            return value


def _references(value: Any) -> Iterator[re.Match[str]]:
    match value:
        case str():
            if found := _REFERENCE.fullmatch(value):
                yield found
        case Mapping():
            for part in value.values():  # pyright: ignore
                yield from _references(part)
        case list() | tuple():
            for part in value:  # pyright: ignore
                yield from _references(part)
        case _:
            return


class PersonaSyncJob(Job):
    """Lip-sync a clip to a voice clip, and write down what is said: sound, video and captions in one go."""

    video: MediaUri = Field(
        title="Video",
        description="The clip of the person: s3://, https://, asset:// or job://.",
        examples=["s3://media/clips/anna.mp4"],
    )
    audio: MediaUri = Field(
        title="Speech", description="The voice clip.", examples=["s3://media/voices/hello.wav"]
    )
    text: str | None = Field(
        default=None,
        max_length=100_000,
        title="Transcript",
        description="The words of the speech, if known (English): better lips.",
        examples=["My mother bought five big blue balloons."],
    )
    captions: Literal["none", "sidecar", "track", "burned"] = Field(
        default="sidecar",
        title="Captions",
        description="sidecar: files beside the video; track: one that players can switch on; burned: in the"
        " picture.",
    )
    language: str = Field(
        default="",
        max_length=32,
        title="Language of the captions",
        description="That is spoken; empty: as it sounds.",
        examples=["en"],
    )
    model: WhisperSize | None = Field(
        default=None, title="Model of the captions", description="Whisper's size; empty: what is installed."
    )
    engine: Engine = Field(default="auto", title="Engine", description="What makes the mouth.")
    version: Version = VERSION
    musetalk: MuseTalkOptions = OPTIONS
    face: FaceChoice = Field(default="largest", title="Face", description="Whose lips move.")
    encode: VideoOptions = Field(
        default=VideoOptions(), title="Encoding", description="Quality and size of the finished video."
    )
    output: Output = OUTPUT


class StepView(BaseModel):
    """What became of a step."""

    type: str
    job: UUID = Field(description="Its job: /v1/jobs/ID tells all of it.")
    name: str | None = Field(description="Of the file that stands for it.")
    files: dict[str, ObjectRef] = Field(description="All its files by name.")
    reused: bool = Field(description="It had been done before, by this pipeline or the one it does again.")


class PipelineResult(BaseModel):
    """What a pipeline made."""

    steps: dict[str, StepView] = Field(description="By name, in the order of the request.")
    name: str | None = Field(description="Of the last step's file, which stands for the whole.")
    video: ObjectRef | None = Field(default=None, description="That file, when it is a video or picture.")
    audio: ObjectRef | None = Field(default=None, description="That file, when it is a sound.")
    files: dict[str, ObjectRef] = Field(description="The last step's files by name.")
    timings_s: dict[str, float] = Field(description="Seconds that each step's job ran.")
    warnings: list[str] = []
