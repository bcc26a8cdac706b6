"""What every job has, and where its result goes. Pure pydantic, as `flows.schemas`."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

OutputName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
BucketName = Annotated[str, StringConstraints(pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$")]


class Job(BaseModel):
    """Fields every job has."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Output(BaseModel):
    """Where a finished file goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: BucketName | None = Field(
        default=None,
        title="S3 bucket",
        description="Bucket for the result; empty keeps it in the system's own store.",
        examples=["my-renders"],
    )
    prefix: str = Field(
        default="",
        title="Prefix",
        description="Folder inside the bucket; needs a bucket.",
        max_length=900,
        examples=["lip_sync/outputs"],
    )
    name: OutputName | None = Field(
        default=None,
        title="File name",
        description="Name without folder, its ending may be left out; empty means one after the inputs.",
        examples=["greeting"],
    )


OUTPUT: Any = Field(
    default=Output(), title="Result", description="Where the finished file goes and its name."
)
