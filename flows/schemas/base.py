"""Schemas that requests and results of all jobs share, and validation errors in words. Pure pydantic."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from tasks.file_names import MAX_NAME_BYTES, validate_name
from tasks.refs import BucketName

_ID_EXAMPLE: Final = "0b7c6f0e-4c1d-4a55-9d0e-6f1d2c3b4a59"
_MAX_NAMES: Final = 25

OutputName = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_NAME_BYTES), AfterValidator(validate_name)
]


Warnings = Annotated[
    list[str],
    Field(description="Warnings, each `code: sentence`; [the codes](../reference/warnings.md)."),
]


class PhaseTimes(BaseModel):
    """CPU and GPU time of a phase."""

    model_config = ConfigDict(frozen=True)

    cpu_s: float = Field(description="CPU time in seconds, with programs that the job started.")
    device_s: float = Field(description="Seconds for which the job occupied a GPU; 0 without one.")


Usage = Annotated[
    dict[str, PhaseTimes],
    Field(
        description="CPU and GPU time per phase, until the result was written; `other` is outside of all"
        " phases. Earlier attempts of the job are not included; `GET /v1/usage` has them."
    ),
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


def error_detail(
    error: Mapping[str, Any], schemas: Iterable[type[BaseModel]], location: Sequence[Any]
) -> str:
    """
    Return the sentence of a validation error.

    Args:
        error:    an error as pydantic lists it.
        schemas:  schemas that the document may have.
        location: place of the error in the document.
    """
    match error["type"]:
        case "extra_forbidden":
            return f"unknown field{_similar(str(location[-1]), _siblings(schemas, location))}"
        case "uuid_parsing" | "uuid_type":
            return f"expected an id such as {_ID_EXAMPLE}"
        case "union_tag_invalid":
            context = error["ctx"]
            names = [name.strip("' ") for name in str(context["expected_tags"]).split(",")]
            field = str(context["discriminator"]).strip("'")
            return f"unknown {field}{_similar(str(context['tag']), names)}"
        case _:
            return str(error["msg"]).removeprefix("Value error, ")


def _similar(name: str, known: Sequence[str]) -> str:
    """Return ` NAME. Did you mean …?`, or the known names; only the name if none are known."""
    shown = f" {name[:80]}"
    if matches := get_close_matches(name.lower(), known, n=1):
        return f"{shown}. Did you mean {matches[0]}?"
    return f"{shown}; known are {', '.join(known)}" if 0 < len(known) <= _MAX_NAMES else shown


def _siblings(schemas: Iterable[type[BaseModel]], location: Sequence[Any]) -> list[str]:
    """Return the names of the fields beside an unknown field."""
    names: list[str] = []
    for schema in schemas:
        owner: type[BaseModel] | None = schema
        for part in location[:-1]:
            field = owner.model_fields.get(str(part)) if owner is not None else None
            kind = field.annotation if field is not None else None
            owner = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        if owner is not None:
            names += owner.model_fields
    return list(dict.fromkeys(names))
