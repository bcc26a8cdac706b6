"""Where a job's output came from: the document beside it. Pure pydantic, as `flows.schemas`."""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from flows.schemas import Rendering

LINEAGE: Final = "lineage"
"""Key of the artifact that holds it."""


class _Part(BaseModel):
    """What all parts share; a later version's document may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)


class InputFile(_Part):
    """A file that went in."""

    fields: tuple[str, ...] = Field(description="Where the job names it: `video`, `voice.reference_audio`.")
    given: str = Field(description="As the client gave it, without user name and query.")
    resolved: str = Field(description="Where it was; `store://` is the system's own store.")
    version: str | None = Field(description="What told this content from others there, if anything did.")
    name: str
    sha256: str
    size: int = Field(description="Bytes.")


class OutputFile(_Part):
    """A file that came out."""

    name: str
    uri: str
    version: str
    sha256: str
    size: int = Field(description="Bytes.")


class UsedModel(_Part):
    """A model that took part, now or when a cached step was made."""

    name: str = Field(description="In the table of models.")
    digest: str | None = Field(
        description="SHA-256 over roles and hashes of its files; null when they are not on that worker."
    )
    files: dict[str, str] = Field(description="SHA-256 by path in the original's layout.")


class ParentJob(_Part):
    """A job that this one builds on."""

    job: UUID
    how: Literal["input", "part-of"] = Field(
        description="input: its file went in; part-of: this job was started for it."
    )
    file: str | None = Field(default=None, description="Which of its files, where the job said so.")


class PartJob(_Part):
    """A job that a pipeline or batch had done for it."""

    job: UUID
    name: str = Field(description="Of the step or row.")
    type: str = Field(description="Of job.")


class Program(_Part):
    """What did it."""

    name: str
    version: str
    core: str = Field(description="Version of the model code; another one may give other pixels.")


class LineageLinks(_Part):
    """Where to see the run."""

    job: str | None = Field(description="Null without a public address of the API.")
    prefect: str | None = Field(description="Its page; null without an address of Prefect's pages.")


class Lineage(_Part):
    """What went into a job and what came out."""

    format: Literal[1] = 1
    job: UUID
    type: str
    tenant: str | None
    created: datetime | None
    started: datetime | None
    finished: datetime
    program: Program
    inputs: tuple[InputFile, ...]
    outputs: tuple[OutputFile, ...]
    parents: tuple[ParentJob, ...]
    parts: tuple[PartJob, ...] = Field(
        default=(), description="Of a pipeline all its steps' jobs; of a batch those of the first 100 rows."
    )
    parts_left_out: int = Field(default=0, description="Of a batch: further ones; its table names them all.")
    parameters: dict[str, Any] = Field(
        description="As they were used, defaults included; of a batch without the rows, which its table has."
    )
    settled: dict[str, Any] = Field(
        description="What the job left open and what that came to be: engine, voice, model."
    )
    models: tuple[UsedModel, ...]
    rendering: Rendering | None
    cached: tuple[str, ...] = Field(description="Steps that were taken from the cache.")
    timings_s: dict[str, float] = Field(description="Seconds per phase.")
    links: LineageLinks
