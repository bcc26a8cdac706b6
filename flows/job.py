"""What every job has, and where its result goes. Pure pydantic, as `flows.schemas`."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from tasks.file_names import MAX_NAME_BYTES, checked_name

OutputName = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_NAME_BYTES), AfterValidator(checked_name)
]
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
        description="Name without folder, its ending may be left out; empty means one after the inputs. Any"
        " letters, digits, spaces and signs but / and \\; at most 255 bytes.",
        examples=["greeting", "take 1 (final)"],
    )
    overwrite: bool = Field(
        default=False,
        title="Overwrite",
        description="Replace what has this name in the bucket. Off: a name that is taken gets a suffix of the"
        " job's id. A job whose result is replaced answers result_replaced from then on.",
    )


OUTPUT: Any = Field(
    default=Output(), title="Result", description="Where the finished file goes and its name."
)
