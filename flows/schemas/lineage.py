"""Schema of the provenance manifest, stored beside each output. Pure pydantic."""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from flows.schemas.video import Rendering

LINEAGE_KEY: Final = "lineage"
"""Key of the artifact that holds the provenance manifest."""


class _ManifestPart(BaseModel):
    """Base class of all parts of the manifest; it ignores fields added by later versions."""

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)


class InputFile(_ManifestPart):
    """An input file."""

    fields: tuple[str, ...] = Field(
        description="Fields of the request that refer to the file: `video`, `voice.reference_audio`."
    )
    given: str = Field(description="Reference as sent by the client, without user name and query.")
    resolved: str = Field(description="Resolved location; `store://` is the system's own store.")
    version: str | None = Field(
        description="Version that identified the content at that location; null if there is none."
    )
    name: str
    sha256: str
    size: int = Field(description="Size in bytes.")


class OutputFile(_ManifestPart):
    """An output file."""

    name: str
    uri: str
    version: str
    sha256: str
    size: int = Field(description="Size in bytes.")
    manifest: Literal["embedded", "sidecar"] | None = Field(
        default=None, description="Where the signed C2PA manifest is; null if the file is not signed."
    )
    sidecar: str | None = Field(default=None, description="Reference to the manifest beside the file.")
    signer: str | None = Field(default=None, description="Common name of the signing certificate.")
    unsigned_sha256: str | None = Field(
        default=None, description="SHA-256 of the file before the manifest was embedded."
    )


class UsedModel(_ManifestPart):
    """A model used by the job, or by a step whose result came from the cache."""

    name: str = Field(description="Name in the model table.")
    digest: str | None = Field(
        description="SHA-256 over the roles and hashes of its files; null if they are not"
        " installed on that worker."
    )
    files: dict[str, str] = Field(description="SHA-256 by path in the upstream layout.")


class ParentJob(_ManifestPart):
    """A job that this job depends on."""

    job: UUID
    how: Literal["input", "part-of"] = Field(
        description="input: its output is an input of this job; part-of: it created this job as a child job."
    )
    file: str | None = Field(default=None, description="File used, if the request names one.")


class PartJob(_ManifestPart):
    """A child job of a pipeline or batch."""

    job: UUID
    name: str = Field(description="Name of the step, or id of the row.")
    type: str = Field(description="Job type.")


class Program(_ManifestPart):
    """The program that ran the job."""

    name: str
    version: str
    core: str = Field(description="Version of the model code; another version may produce other pixels.")


class LineageLinks(_ManifestPart):
    """Links to the job and its flow run."""

    job: str | None = Field(description="Job in the REST API; null if no public API address is set.")
    prefect: str | None = Field(description="Flow run in Prefect's pages; null if their address is not set.")


class Lineage(_ManifestPart):
    """A provenance manifest: inputs, models, parameters and outputs of a job."""

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
        default=(), description="Child jobs: all steps of a pipeline, or the first 100 rows of a batch."
    )
    parts_left_out: int = Field(
        default=0,
        description="Batch only: number of further child jobs, which are listed in the result table.",
    )
    parameters: dict[str, Any] = Field(
        description="Parameters as used, including defaults; for a batch without the rows, which"
        " are in the result table."
    )
    settled: dict[str, Any] = Field(
        description="Values chosen for what the request left open: engine, voice, model."
    )
    models: tuple[UsedModel, ...]
    rendering: Rendering | None
    cached: tuple[str, ...] = Field(description="Steps whose results came from the cache.")
    timings_s: dict[str, float] = Field(description="Seconds per phase.")
    links: LineageLinks
