"""
Media references, pinned outputs and cache entries: small immutable models that tasks pass to each other.

Tasks never pass bytes, frames or local paths. Imports only pydantic and `tasks.file_names`.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Annotated, Any, Self, get_args
from urllib.parse import quote, unquote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from tasks.file_names import MAX_KEY_BYTES, MAX_NAME_BYTES

MAX_URL_CHARS = 8192

BucketName = Annotated[str, StringConstraints(pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$")]
"""Name of a bucket; empty for none."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ASSET = re.compile(r"[A-Za-z0-9_-]{1,64}")
_JOB = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(/[^/]+)?")
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,4}")
_SUPPORTED_FORMS = "use s3://bucket/key, https://…, asset://ID or job://ID"


def validate_media_uri(text: str) -> str:
    """
    Check the spelling of a media reference.

    Args:
        text: `s3://bucket/key`, `https://…`, `http://…`, `asset://ID`, `job://ID[/name]` or
            `file:///absolute/path`. Access is checked later, by `tasks.inputs.origins`.

    Returns:
        The same reference with its scheme in lowercase.

    Raises:
        PydanticCustomError: a ValueError whose `type` is `media_uri`, or `local_path_disabled` for a
            plain path.
    """
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise PydanticCustomError(
            "local_path_disabled",
            "A plain path is not a media reference; {expected}.",
            {"expected": _SUPPORTED_FORMS},
        )
    check = _CHECKS.get(scheme)
    if check is None:
        raise _invalid_uri_error(f"{scheme[:20]}:// is not a supported scheme; {_SUPPORTED_FORMS}.")
    if _CONTROL.search(text):
        raise _invalid_uri_error("A media reference cannot contain control characters.")
    check(rest)
    return f"{scheme}://{rest}"


def _invalid_uri_error(message: str) -> PydanticCustomError:
    return PydanticCustomError("media_uri", "{message}", {"message": message})


def _check_s3(rest: str) -> None:
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise _invalid_uri_error(
            "The bucket in an s3:// reference has 3 to 63 lowercase letters, digits, dots and hyphens."
        )
    if not key or len(key.encode()) > MAX_KEY_BYTES:
        raise _invalid_uri_error(
            "An s3:// reference needs a key of 1 to 1024 bytes after the bucket: s3://bucket/key."
        )


def _check_web(rest: str) -> None:
    host = re.split(r"[/?]", rest, maxsplit=1)[0]
    if not host or len(rest) > MAX_URL_CHARS:
        raise _invalid_uri_error(f"A URL needs a host and has at most {MAX_URL_CHARS} characters.")
    if "@" in host or "\\" in rest or "#" in rest or " " in rest:
        raise _invalid_uri_error("A URL cannot have a user name, a backslash, a space or a fragment.")


def _check_asset(rest: str) -> None:
    if not _ASSET.fullmatch(rest):
        raise _invalid_uri_error("An asset:// reference is asset://ID with the id that the upload returned.")


def _check_job(rest: str) -> None:
    if not _JOB.fullmatch(rest):
        raise _invalid_uri_error("A job:// reference is job://ID or job://ID/name with the id of a job.")
    if "/" in rest and not _is_plain_file_name(job_file_name(rest)):
        raise _invalid_uri_error(
            f"The name in a job:// reference is one file name of at most {MAX_NAME_BYTES} bytes,"
            " percent-encoded where necessary: job://ID/take%201.mp4."
        )


def _is_plain_file_name(name: str) -> bool:
    return (
        bool(name)
        and name not in {".", ".."}
        and "/" not in name
        and not _CONTROL.search(name)
        and len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES
    )


def job_uri(job: object, name: str | None = None) -> str:
    """Return the `job://` reference to a job's main output or to one of its files, percent-encoded."""
    return f"job://{job}/{quote(name, safe='')}" if name else f"job://{job}"


def job_file_name(rest: str) -> str:
    """Return the decoded file name in the part after `job://`; empty for the job's main output."""
    return unicodedata.normalize("NFC", unquote(rest.partition("/")[2]))


def _check_file(rest: str) -> None:
    if not rest.startswith("/") or ".." in rest.split("/"):
        raise _invalid_uri_error("A file:// reference is file:///absolute/path without '..'.")


_CHECKS: dict[str, Callable[[str], None]] = {
    "s3": _check_s3,
    "https": _check_web,
    "http": _check_web,
    "asset": _check_asset,
    "job": _check_job,
    "file": _check_file,
}

MediaUri = Annotated[
    str,
    AfterValidator(validate_media_uri),
    Field(
        description="Media reference: s3://bucket/key, https://…, asset://ID or job://ID.",
        examples=["s3://media/anna.mp4"],
    ),
]
"""A media reference, of which only the spelling is checked."""


@lru_cache
def media_fields(model: type[BaseModel]) -> frozenset[str]:
    """Return the fields that a schema declares as media references; other text fields may look like one."""
    return frozenset(
        name
        for name, field in model.model_fields.items()
        if any(_is_check(one) for one in (*field.metadata, *_metadata(field.annotation)))
    )


def _metadata(annotation: Any) -> Iterator[Any]:
    for part in get_args(annotation):
        yield part
        yield from _metadata(part)


def _is_check(one: Any) -> bool:
    return isinstance(one, AfterValidator) and one.func is validate_media_uri


class Ref(BaseModel):
    """Base of all references."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ObjectRef(Ref):
    """A stored output of a job, pinned to one version."""

    uri: str
    version: str = Field(
        description="`v:` and the VersionId in a versioned bucket, `e:` and the ETag in other buckets, `f:`"
        " and inode, time and size in a folder."
    )
    size: int = Field(ge=0, description="Size in bytes.")
    sha256: str | None = Field(
        default=None, description="SHA-256 of the bytes; null in results written before it was recorded."
    )


class SourceFile(Ref):
    """An input, pinned to its content. Valid on every worker: `tasks.inputs.sources` fetches it on demand."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, description="Size in bytes.")
    name: str = Field(description="Last part of the reference, for display and output names; never a path.")
    uri: str = Field(repr=False, description="Original reference; may contain a signed query.")
    version: str | None = Field(description="Version of the content at its origin, if it has versions.")
    stored: ObjectRef | None = Field(
        default=None, description="The pinned output, if the input is the output of another job."
    )


class Artefact(Ref):
    """
    A reference to a cache entry: a folder of files, identified by kind and content key.

    Validation fails if the entry no longer exists, also when a stored task result is read. Prefect treats a
    result that cannot be read as a cache miss and runs the task again.
    """

    kind: str
    key: str
    size: int = Field(ge=0, description="Total size of all files in bytes.")
    files: tuple[str, ...]

    @model_validator(mode="after")
    def _check_exists(self) -> Self:
        check_artefact_name(self.kind, self.key)
        if not all(is_file_name(name) for name in self.files):
            raise ValueError("the files of a cache entry have plain relative names")
        if _artefact_exists is not None and not _artefact_exists(self.kind, self.key):
            raise ValueError(f"the {self.kind} cache entry {self.key[:12]}… is no longer in the store")
        return self


_artefact_exists: Callable[[str, str], bool] | None = None


def register_artefact_check(exists: Callable[[str, str], bool] | None) -> None:
    """Set the function by which `Artefact` checks that (kind, key) exists; None disables the check."""
    global _artefact_exists
    _artefact_exists = exists


def check_artefact_name(kind: str, key: str) -> None:
    """
    Check the kind and the key of a cache entry, because they become a path.

    Raises:
        ValueError: the kind is not a lowercase word, or the key is not 64 hexadecimal digits.
    """
    if not _KIND.fullmatch(kind) or not _SHA256.fullmatch(key):
        raise ValueError(
            f"{kind[:40]!r}, {key[:80]!r} is not a cache entry: expected a lowercase word and 64 hex digits"
        )


def is_file_name(name: str) -> bool:
    """Return whether a name is allowed for a file of a cache entry: plain words, at most five levels."""
    return bool(_FILE_NAME.fullmatch(name)) and ".." not in name
