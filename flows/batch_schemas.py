"""What batches take and give: many jobs of one type. Pure pydantic."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, StringConstraints, model_validator

from flows.catch_up import CatchUp, Schedule
from flows.job import OUTPUT, Job, Output
from flows.job_types import WORK_TYPES
from flows.pipeline_schemas import StepType
from tasks.refs import MediaUri, ObjectRef, checked_media_uri

MOST_ROWS = 10_000
MOST_INLINE = 1_000
WatchName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


def _from_s3(uri: str) -> str:
    """Check what a field of many jobs is made from: a folder of a bucket, or one object for all."""
    if not uri.startswith("s3://"):
        raise ValueError("this is s3://bucket/folder/ for an object a row, or s3://bucket/key for all rows")
    checked_media_uri(uri if not uri.endswith("/") else f"{uri}any")
    return uri


Place = Annotated[str, AfterValidator(_from_s3)]
Places = Annotated[dict[str, Place], Field(min_length=1, max_length=8)]

_PLACES: Any = Field(
    default=None,
    title="Folders",
    description="For each field of the jobs a folder, s3://bucket/folder/, whose objects are paired by name"
    " (hello.mp4 with hello.wav), or one object for all.",
    examples=[{"video": "s3://media/avatars/anna.mp4", "audio": "s3://media/speech/today/"}],
)
_TYPE: Any = Field(title="Type", description="Of every job.", examples=["lip_sync"])
_DEFAULTS: Any = Field(
    default={},
    title="Fields of every job",
    description="Where its row does not say otherwise.",
    examples=[{"output": {"bucket": "my-renders"}, "engine": "auto"}],
)
_PARALLEL: Any = Field(
    default=4,
    ge=1,
    le=256,
    title="Jobs at a time",
    description="Of this one: more wait until others have ended.",
    examples=[4],
)


def _check_places(type_name: str, places: dict[str, str] | None) -> None:
    for field in places or {}:
        if field not in WORK_TYPES[type_name].job.model_fields:
            raise ValueError(f"{type_name} has no field {field}")
    if places and not any(place.endswith("/") for place in places.values()):
        raise ValueError("one of the folders at least ends with /: its objects make the rows")


def _check_apart(places: dict[str, str], defaults: dict[str, Any]) -> None:
    """A video among the speeches is a speech: results in the inputs' folder would be done again and again."""
    output: Any = defaults.get("output")
    bucket = output.get("bucket") if isinstance(output, dict) else None
    if not bucket:
        return
    target = f"s3://{bucket}/{str(output.get('prefix') or '').strip('/')}".rstrip("/") + "/"
    for field, place in places.items():
        if place.endswith("/") and target.startswith(place):
            raise ValueError(f"the results would go to the folder of {field}, and be taken for new inputs")


class BatchJob(Job):
    """Do many jobs of one type, each row by itself: what is wrong with one is no harm to the others."""

    job_type: StepType = _TYPE
    rows: tuple[dict[str, Any], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_INLINE,
        title="Rows",
        description="A job's fields each, and an `id` of one's own.",
        examples=[[{"id": "monday", "video": "s3://media/anna.mp4", "audio": "s3://media/monday.wav"}]],
    )
    manifest: MediaUri | None = Field(
        default=None,
        title="Manifest",
        description="Instead of rows: a file of them, as JSON Lines, or as CSV with a heading.",
        examples=["s3://media/batches/today.csv"],
    )
    places: Places | None = _PLACES
    defaults: dict[str, Any] = _DEFAULTS
    parallel: int = _PARALLEL
    on_bad_rows: Literal["skip", "fail"] = Field(
        default="skip",
        title="Rows that are no jobs",
        description="skip: do the others; fail: do nothing at all.",
    )
    output: Output = OUTPUT

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("rows", "manifest", "places") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("a batch has its rows from one of: rows, manifest, places")
        _check_places(self.job_type, self.places)
        return self


class RenderNewJob(Job):
    """Do a job for all that is new in a folder of a bucket since the last time, each once."""

    name: WatchName = Field(
        title="Name",
        description="Of this task. What was done under it is not done again, and it remembers when it last"
        " looked.",
        examples=["morning-news"],
    )
    job_type: StepType = Field(default="lip_sync", title="Type", description="Of every job.")
    places: Places = Field(title="Folders", description=_PLACES.description, examples=_PLACES.examples)
    defaults: dict[str, Any] = _DEFAULTS
    parallel: int = _PARALLEL
    schedule: Schedule | None = Field(
        default=None,
        title="Times",
        description="At which it looks, for the sake of those that were missed. Empty: whenever it runs, for"
        " all that came since.",
    )
    catch_up: CatchUp = Field(
        default="all",
        title="What came before missed times",
        description="skip: leave it out; latest: what came before the newest of them; all: everything.",
    )
    since: AwareDatetime | None = Field(
        default=None,
        title="From",
        description="Backfill: what came from then on, instead of since the last time.",
        examples=["2026-11-01T00:00:00Z"],
    )
    until: AwareDatetime | None = Field(
        default=None, title="To", description="Backfill: and before then.", examples=["2026-11-08T00:00:00Z"]
    )
    output: Output = OUTPUT

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_places(self.job_type, self.places)
        _check_apart(self.places, self.defaults)
        if self.until is not None and (self.since is None or self.until <= self.since):
            raise ValueError("a backfill has a beginning, and an end after it")
        return self


class RowFault(BaseModel):
    """Why a row is no job."""

    pointer: str = Field(description="Which field, as a JSON pointer; # is the whole row.")
    detail: str


class RowView(BaseModel):
    """What became of a row; a line of the table of results."""

    row: int = Field(description="From 1.")
    id: str
    status: Literal["succeeded", "failed", "canceled", "aborted", "invalid"]
    job: UUID | None = None
    name: str | None = Field(default=None, description="Of the file that the job made.")
    uri: str | None = Field(default=None, description="Where it is.")
    code: str | None = Field(default=None, description="Of the error.")
    message: str | None = None
    faults: list[RowFault] = []


ROW_COUNTS: Final = ("total", "succeeded", "failed", "canceled", "invalid", "known")
"""Fields of a result that count rows; webhooks tell them."""


class BatchResult(BaseModel):
    """What became of a batch."""

    total: int = Field(description="Rows.")
    succeeded: int
    failed: int = Field(description="Rows whose jobs failed or ran out of time.")
    canceled: int = Field(description="Rows whose jobs were cancelled.")
    invalid: int = Field(description="Rows that are no jobs.")
    known: int = Field(
        default=0, description="Of render_new: rows that had been done before; they are not counted above."
    )
    problems: list[RowView] = Field(description="The first rows that did not succeed, at most 100.")
    name: str = Field(description="Of the table of results.")
    files: dict[str, ObjectRef] = Field(description="That table, by name.")
    until: datetime | None = Field(default=None, description="Of render_new: up to when it has looked.")
    warnings: list[str] = []
