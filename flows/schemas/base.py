"""Base schema of all job requests, and the output location. Pure pydantic."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from tasks.file_names import MAX_NAME_BYTES, validate_name
from tasks.refs import BucketName

OutputName = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_NAME_BYTES), AfterValidator(validate_name)
]


Warnings = Annotated[
    list[str],
    Field(description="Warnings, each `code: sentence`; [the codes](../reference/warnings.md)."),
]


class JobParameters(BaseModel):
    """Base class of all job requests."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Output(BaseModel):
    """The output location of a job: bucket, prefix, file name, and what to do if the name is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: BucketName | None = Field(
        default=None,
        title="S3 bucket",
        description="Bucket for the result. Empty: the system's own store.",
        examples=["my-renders"],
    )
    prefix: str = Field(
        default="",
        title="Prefix",
        description="Folder inside the bucket; requires a bucket.",
        max_length=900,
        examples=["lip_sync/outputs"],
    )
    name: OutputName | None = Field(
        default=None,
        title="File name",
        description="File name without folder; the extension is optional. Empty: derived from the"
        " names of the inputs. All characters except / and \\; at most 255 bytes.",
        examples=["greeting", "take 1 (final)"],
    )
    overwrite: bool = Field(
        default=False,
        title="Overwrite",
        description="Replace an object of the same name in the bucket. Off: if the name is taken,"
        " a suffix of the job id is added. Once the result of a job is replaced, requests for it"
        " return result_replaced.",
    )


OUTPUT_FIELD: Any = Field(
    default=Output(), title="Output location", description="Location and name of the output file."
)
FALLBACK_FIELD: Any = Field(
    default=False,
    title="Fallback",
    description="If an engine, voice or model that the job names is not installed. Off: the job is rejected"
    " with model_not_installed; on: the best installed one is used, with the warning model_substituted.",
)
