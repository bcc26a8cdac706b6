"""
Small immutable references that travel between tasks, and the rules for their spelling.

Bytes, frames and local paths never travel. Pure pydantic: imports `tasks.file_names` only.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Annotated, Self
from urllib.parse import quote, unquote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from tasks.file_names import MAX_KEY_BYTES, MAX_NAME_BYTES

MAX_URL_CHARS = 8192

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ASSET = re.compile(r"[A-Za-z0-9_-]{1,64}")
_JOB = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(/[^/]+)?")
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,4}")
_EXPECTED = "use s3://bucket/key, https://…, asset://ID or job://ID"


def checked_media_uri(text: str) -> str:
    """
    Check the spelling of a media reference.

    Args:
        text: `s3://bucket/key`, `https://…`, `http://…`, `asset://ID`, `job://ID[/name]` or
            `file:///absolute/path`. Whether it may be read is decided later, by `tasks.sources`.

    Returns:
        The same reference, its scheme in small letters.

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
            {"expected": _EXPECTED},
        )
    check = _CHECKS.get(scheme)
    if check is None:
        raise _refused(f"{scheme[:20]}:// is not a scheme we read; {_EXPECTED}.")
    if _CONTROL.search(text):
        raise _refused("A media reference cannot contain control characters.")
    check(rest)
    return f"{scheme}://{rest}"


def _refused(message: str) -> PydanticCustomError:
    return PydanticCustomError("media_uri", "{message}", {"message": message})


def _check_s3(rest: str) -> None:
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise _refused("The bucket in an s3:// reference is 3 to 63 small letters, digits, dots and hyphens.")
    if not key or len(key.encode()) > MAX_KEY_BYTES:
        raise _refused("An s3:// reference needs a key of 1 to 1024 bytes after the bucket: s3://bucket/key.")


def _check_web(rest: str) -> None:
    host = re.split(r"[/?]", rest, maxsplit=1)[0]
    if not host or len(rest) > MAX_URL_CHARS:
        raise _refused(f"A web address needs a host and at most {MAX_URL_CHARS} characters.")
    if "@" in host or "\\" in rest or "#" in rest or " " in rest:
        raise _refused("A web address cannot have a user name, a backslash, a space or a fragment.")


def _check_asset(rest: str) -> None:
    if not _ASSET.fullmatch(rest):
        raise _refused("An asset:// reference is asset://ID with the id that the upload answered.")


def _check_job(rest: str) -> None:
    if not _JOB.fullmatch(rest):
        raise _refused("A job:// reference is job://ID or job://ID/name with the id of a job.")
    if "/" in rest and not _is_plain(job_file(rest)):
        raise _refused(
            f"The name in a job:// reference is that of one file, at most {MAX_NAME_BYTES} bytes,"
            " percent-encoded where need be: job://ID/take%201.mp4."
        )


def _is_plain(name: str) -> bool:
    return (
        bool(name)
        and name not in {".", ".."}
        and "/" not in name
        and not _CONTROL.search(name)
        and len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES
    )


def job_uri(job: object, name: str | None = None) -> str:
    """Name a job's output, or one file of it, as other jobs take it in: the name percent-encoded."""
    return f"job://{job}/{quote(name, safe='')}" if name else f"job://{job}"


def job_file(rest: str) -> str:
    """Return the decoded name of the file in what follows `job://`; empty for the job's main output."""
    return unicodedata.normalize("NFC", unquote(rest.partition("/")[2]))


def _check_file(rest: str) -> None:
    if not rest.startswith("/") or ".." in rest.split("/"):
        raise _refused("A file:// reference is file:///absolute/path without '..'.")


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
    AfterValidator(checked_media_uri),
    Field(
        description="Where a file is: s3://bucket/key, https://…, asset://ID or job://ID.",
        examples=["s3://media/anna.mp4"],
    ),
]
"""A media reference, checked for spelling only."""


class Ref(BaseModel):
    """Base of all references."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ObjectRef(Ref):
    """A stored output, pinned to one version."""

    uri: str
    version: str = Field(
        description="v: and the VersionId in a bucket that keeps versions, e: and the ETag in another, f: and"
        " inode, time and size in a folder."
    )
    size: int = Field(ge=0, description="Bytes.")
    sha256: str | None = Field(
        default=None, description="Of its bytes; null in results written before it was recorded."
    )


class SourceFile(Ref):
    """An input, pinned to its content. Valid on every worker: `tasks.sources` fetches it again if need be."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, description="Bytes.")
    name: str = Field(description="Last part of the reference, for people and output names; never a path.")
    uri: str = Field(repr=False, description="Where it came from; may carry a signed query.")
    version: str | None = Field(description="What told this content from others there, if anything did.")
    stored: ObjectRef | None = Field(
        default=None, description="The pinned output that this is, when another job made it."
    )


class Artefact(Ref):
    """
    A folder of files in the artefact cache, named by what made it.

    Building one (reading a stored result included) fails when the artefact is gone: the orchestrator
    takes a result that cannot be read for a cache miss and makes it again.
    """

    kind: str
    key: str
    size: int = Field(ge=0, description="Bytes of all files.")
    files: tuple[str, ...]

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        check_artefact_name(self.kind, self.key)
        if not all(is_file_name(name) for name in self.files):
            raise ValueError("an artefact's files have plain relative names")
        if _artefact_exists is not None and not _artefact_exists(self.kind, self.key):
            raise ValueError(f"the {self.kind} artefact {self.key[:12]}… is not in the store any more")
        return self


_artefact_exists: Callable[[str, str], bool] | None = None


def register_artefact_check(exists: Callable[[str, str], bool] | None) -> None:
    """Set what `Artefact` asks whether (kind, key) exists; None asks nobody. Set by `tasks.artefacts`."""
    global _artefact_exists
    _artefact_exists = exists


def check_artefact_name(kind: str, key: str) -> None:
    """
    Check what names an artefact, for it becomes a path.

    Raises:
        ValueError: the kind is no small word, or the key not 64 hexadecimal digits.
    """
    if not _KIND.fullmatch(kind) or not _SHA256.fullmatch(key):
        raise ValueError(f"{kind[:40]!r}, {key[:80]!r} do not name an artefact: a word and 64 hex digits do")


def is_file_name(name: str) -> bool:
    """Tell whether a file of an artefact may be called this: plain words, at most five levels."""
    return bool(_FILE_NAME.fullmatch(name)) and ".." not in name
