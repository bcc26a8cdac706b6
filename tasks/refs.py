"""
Small immutable references that travel between tasks, and the rules for their spelling.

Bytes, frames and local paths never travel. Pure pydantic: imports nothing of ours.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

MAX_KEY_BYTES = 1024
MAX_URL_CHARS = 8192
MAX_OUTPUT_NAME = 128
"""Characters of a made-up output name, `.mp4` included."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ASSET = re.compile(r"[A-Za-z0-9_-]{1,64}")
_JOB = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(/[A-Za-z0-9][A-Za-z0-9._-]{0,131})?")
_GIVEN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
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
    if ".." in key.split("/"):
        raise _refused("The key in an s3:// reference cannot have '..' as a part.")


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


class SourceFile(Ref):
    """An input, pinned to its content. Valid on every worker: `tasks.sources` fetches it again if need be."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, description="Bytes.")
    name: str = Field(description="Last part of the reference, for people and output names; never a path.")
    uri: str = Field(repr=False, description="Where it came from; may carry a signed query.")
    version: str | None = Field(description="What told this content from others there, if anything did.")


class ObjectRef(Ref):
    """A stored output, pinned to one version."""

    uri: str
    version: str
    size: int = Field(ge=0, description="Bytes.")


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


def safe_stem(name: str) -> str:
    """
    Return a file's basename without its last extension, fit for a key and a file name.

    Args:
        name: a name, path or key; only what follows the last `/` counts.

    Returns:
        Characters of [A-Za-z0-9._-] not starting with a dot.

    Raises:
        ValueError: nothing is left, or it holds `..`.
    """
    base = name.rsplit("/", 1)[-1]
    stem, dot, _ = base.rpartition(".")
    stem = _UNSAFE.sub("_", stem if dot and stem.strip(".") else base).lstrip(".")
    if not stem or ".." in f"{stem}.":
        raise ValueError(f"{base[:80]!r} cannot be used in an output name: it is empty or contains '..'")
    return stem


def output_name(video_name: str, audio_name: str, given: str | None = None) -> str:
    """
    Name the rendered video: what was asked for, or `<video stem>_<audio stem>`, with `.mp4`.

    Args:
        video_name: name or key of the avatar's file.
        audio_name: name or key of the speech's file.
        given:      the wanted name, with or without `.mp4`, or None.

    Returns:
        The name. A made-up one has at most 128 characters; when it would be longer its end is replaced
        by eight digits of its hash, so that long names do not meet.

    Raises:
        ValueError: `given` has other characters than [A-Za-z0-9._-], starts with none of [A-Za-z0-9], is
            longer than 128 or holds `..`; or `safe_stem` refused a name.
    """
    if given is not None:
        stem = given[:-4] if given.lower().endswith(".mp4") else given
        if not _GIVEN_NAME.fullmatch(given) or ".." in f"{stem}.":
            raise ValueError(
                "an output name starts with a letter or digit and has at most 128 letters, digits,"
                " dots, hyphens and underscores, without '..'"
            )
        return f"{stem}.mp4"
    whole = f"{safe_stem(video_name)}_{safe_stem(audio_name)}"
    room = MAX_OUTPUT_NAME - len(".mp4")
    if len(whole) > room:
        whole = f"{whole[: room - 9]}_{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
    return f"{whole}.mp4"
