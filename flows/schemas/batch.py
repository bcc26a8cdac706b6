"""Request and result schemas of batches: many jobs of one type. Pure pydantic."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, StringConstraints, model_validator

from flows.schemas.base import OUTPUT_FIELD, JobParameters, Output, Warnings
from flows.schemas.job_types import MEDIA_JOB_TYPES
from flows.schemas.pipeline import StepType
from flows.schemas.schedule import CatchUp, Schedule
from tasks.refs import MediaUri, ObjectRef, validate_media_uri

MAX_ROWS = 10_000
"""Maximum number of rows of a batch."""
MAX_INLINE_ROWS = 1_000
"""Maximum number of rows inside a request; larger batches use a manifest."""
WatchName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


def _check_s3_source(uri: str) -> str:
    """Check the source of a field: a bucket folder (one object per row) or one object for all rows."""
    if not uri.startswith("s3://"):
        raise ValueError(
            "expected s3://bucket/folder/ for one object per row, or s3://bucket/key for all rows"
        )
    validate_media_uri(uri if not uri.endswith("/") else f"{uri}any")
    return uri


FolderUri = Annotated[str, AfterValidator(_check_s3_source)]
FolderUris = Annotated[dict[str, FolderUri], Field(min_length=1, max_length=8)]

_PLACES_FIELD: Any = Field(
    default=None,
    title="Folders",
    description="For each field of the jobs either a folder, s3://bucket/folder/, whose objects are paired by"
    " name (hello.mp4 with hello.wav), or one object for all rows.",
    examples=[{"video": "s3://media/avatars/anna.mp4", "audio": "s3://media/speech/today/"}],
)
_JOB_TYPE_FIELD: Any = Field(title="Job type", description="Job type of every row.", examples=["lip_sync"])
_DEFAULTS_FIELD: Any = Field(
    default={},
    title="Default fields",
    description="Fields of every job, unless its row sets them.",
    examples=[{"output": {"bucket": "my-renders"}, "engine": "auto"}],
)
_PARALLEL_FIELD: Any = Field(
    default=4,
    ge=1,
    le=256,
    title="Jobs at a time",
    description="Maximum number of unfinished child jobs of this batch; further rows wait.",
    examples=[4],
)


def _check_folder_fields(type_name: str, folders: dict[str, str] | None) -> None:
    for field in folders or {}:
        if field not in MEDIA_JOB_TYPES[type_name].job.model_fields:
            raise ValueError(f"{type_name} has no field {field}")
    if folders and not any(place.endswith("/") for place in folders.values()):
        raise ValueError("at least one folder must end with /: its objects become the rows")


def _check_output_outside_inputs(folders: dict[str, str], defaults: dict[str, Any]) -> None:
    """Reject results in an input folder: they would be taken for new inputs again and again."""
    output: Any = defaults.get("output")
    bucket = output.get("bucket") if isinstance(output, dict) else None
    if not bucket:
        return
    target = f"s3://{bucket}/{str(output.get('prefix') or '').strip('/')}".rstrip("/") + "/"
    for field, folder in folders.items():
        if folder.endswith("/") and target.startswith(folder):
            raise ValueError(
                f"the output folder lies inside the folder of {field}: results would be taken for new inputs"
            )


class BatchJob(JobParameters):
    """Run many jobs of one type, one per row; an invalid row does not stop the others."""

    job_type: StepType = _JOB_TYPE_FIELD
    rows: tuple[dict[str, Any], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_INLINE_ROWS,
        title="Rows",
        description="The fields of one job per row, and optionally an `id`.",
        examples=[[{"id": "monday", "video": "s3://media/anna.mp4", "audio": "s3://media/monday.wav"}]],
    )
    manifest: MediaUri | None = Field(
        default=None,
        title="Manifest",
        description="File of rows, instead of `rows`: JSON Lines, or CSV with a header line.",
        examples=["s3://media/batches/today.csv"],
    )
    places: FolderUris | None = _PLACES_FIELD
    defaults: dict[str, Any] = _DEFAULTS_FIELD
    parallel: int = _PARALLEL_FIELD
    on_bad_rows: Literal["skip", "fail"] = Field(
        default="skip",
        title="Invalid rows",
        description="skip: run the other rows; fail: run no row at all.",
    )
    output: Output = OUTPUT_FIELD

    @model_validator(mode="after")
    def _require_one_source(self) -> Self:
        sources = [name for name in ("rows", "manifest", "places") if getattr(self, name) is not None]
        if len(sources) != 1:
            raise ValueError("a batch takes its rows from exactly one of: rows, manifest, places")
        _check_folder_fields(self.job_type, self.places)
        return self


class RenderNewJob(JobParameters):
    """Run a job for each new object in a bucket folder, once per object."""

    name: WatchName = Field(
        title="Name",
        description="Name of this watch. Under one name each object is processed once, and the"
        " time of the last listing is stored.",
        examples=["morning-news"],
    )
    job_type: StepType = Field(default="lip_sync", title="Job type", description="Job type of every row.")
    places: FolderUris = Field(
        title="Folders", description=_PLACES_FIELD.description, examples=_PLACES_FIELD.examples
    )
    defaults: dict[str, Any] = _DEFAULTS_FIELD
    parallel: int = _PARALLEL_FIELD
    schedule: Schedule | None = Field(
        default=None,
        title="Schedule",
        description="Times at which the folders are listed, used to find missed times. Empty: every run"
        " processes all objects since the last one.",
    )
    catch_up: CatchUp = Field(
        default="all",
        title="Missed times",
        description="Objects from before missed times. skip: ignore them; latest: process those before the"
        " newest missed time; all: process all.",
    )
    since: AwareDatetime | None = Field(
        default=None,
        title="From",
        description="Backfill: process objects from this time on, instead of since the last run.",
        examples=["2026-11-01T00:00:00Z"],
    )
    until: AwareDatetime | None = Field(
        default=None,
        title="To",
        description="Backfill: process objects before this time.",
        examples=["2026-11-08T00:00:00Z"],
    )
    output: Output = OUTPUT_FIELD

    @model_validator(mode="after")
    def _validate_folders_and_backfill(self) -> Self:
        _check_folder_fields(self.job_type, self.places)
        _check_output_outside_inputs(self.places, self.defaults)
        if self.until is not None and (self.since is None or self.until <= self.since):
            raise ValueError("until requires since, and must be later than since")
        return self


class RowFault(BaseModel):
    """One error of an invalid row."""

    pointer: str = Field(description="The field as a JSON pointer; # is the whole row.")
    detail: str


class RowView(BaseModel):
    """The outcome of one row; one line of the result table."""

    row: int = Field(description="Row number, from 1.")
    id: str
    status: Literal["succeeded", "failed", "canceled", "aborted", "invalid"]
    job: UUID | None = None
    name: str | None = Field(default=None, description="Name of the output file.")
    uri: str | None = Field(default=None, description="Location of the output file.")
    code: str | None = Field(default=None, description="Error code.")
    message: str | None = None
    faults: list[RowFault] = []
    warnings: Warnings = []


ROW_COUNTS: Final = ("total", "succeeded", "failed", "canceled", "invalid", "known")
"""Fields of a result that count rows; webhooks report them."""


class BatchResult(BaseModel):
    """The outcome of a batch."""

    total: int = Field(description="Number of rows.")
    succeeded: int
    failed: int = Field(description="Rows whose jobs failed or exceeded a time limit.")
    canceled: int = Field(description="Rows whose jobs were canceled.")
    invalid: int = Field(description="Invalid rows, for which no job was created.")
    known: int = Field(
        default=0,
        description="render_new only: rows that were processed earlier; they are not counted above.",
    )
    problems: list[RowView] = Field(description="The first rows that did not succeed, at most 100.")
    name: str = Field(description="File name of the result table.")
    files: dict[str, ObjectRef] = Field(description="The result table by name.")
    until: datetime | None = Field(
        default=None, description="render_new only: time up to which the folders have been processed."
    )
    warnings: Warnings = []
