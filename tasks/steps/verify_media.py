"""Prefect tasks that fetch a file of any type and check its Content Credentials."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal
from uuid import UUID

from prefect import task
from pydantic import BaseModel, ConfigDict

from musetalk_core.content_credentials.file_type import UNKNOWN, detect_media_type
from musetalk_core.content_credentials.isolated import verify_isolated
from musetalk_core.content_credentials.signing import SIDECAR_SUFFIX, is_embeddable
from tasks.catalog.fingerprint_index import find_similar
from tasks.catalog.mark_detection import find_mark
from tasks.catalog.mark_finding import MarkFinding
from tasks.catalog.output_index import find_outputs
from tasks.catalog.sidecars import MAX_SIDECAR_BYTES, read_sidecar
from tasks.content_credentials.signing_keys import trust_anchors
from tasks.errors import StorageError
from tasks.inputs import job_outputs
from tasks.inputs.sources import fetch_source, source_path
from tasks.refs import SourceFile
from tasks.run.reports import phase
from tasks.run.task_policies import NOT_CACHED, RETRY_IO, traced
from tasks.steps.fingerprint import fingerprint_of, ignore_damage
from tasks.storage.media_types import media_type as type_of_name

_LIMIT_S: Final = 120.0
"""Time limit of a check. A second is enough for a gigabyte."""


class FileToCheck(BaseModel):
    """A fetched file, and the manifest beside it; None if there is none or the file can hold one."""

    model_config = ConfigDict(frozen=True)

    source: SourceFile
    media_type: str
    sidecar: SourceFile | None = None


class FoundFile(BaseModel):
    """An output that a file equals or resembles, with the confidences of `musetalk_core.fingerprints`."""

    model_config = ConfigDict(frozen=True)

    job: UUID
    name: str
    how: Literal["file", "fingerprint"]
    confidence: float
    picture: float | None = None
    sound: float | None = None


class CheckedFile(BaseModel):
    """The verification of a file: fields of the core's `Verification`, and outputs that it resembles."""

    model_config = ConfigDict(frozen=True)

    state: str
    problems: list[str]
    embedded: bool
    manifest: dict[str, Any] | None
    found: list[FoundFile] = []
    mark: MarkFinding | None = None


@task(**NOT_CACHED, **RETRY_IO)
@traced
def fetch_file(uri: str, sidecar: str | None) -> FileToCheck:
    """
    Fetch a file of any type, and the manifest beside it.

    Args:
        uri:     the job's reference to the file.
        sidecar: the job's reference to its manifest; None to look beside the object of a bucket.

    Raises:
        InputError: a file is missing, unreachable or too large.
    """
    with phase("fetch"):
        source = fetch_source(job_outputs.resolve_input(uri).location, kind="video")
        media_type = detect_media_type(source_path(source))
        if media_type == UNKNOWN:
            media_type = type_of_name(source.name)
        beside = None
        if sidecar is not None:
            beside = fetch_source(job_outputs.resolve_input(sidecar).location, kind="text")
        elif uri.startswith("s3://") and not is_embeddable(media_type):
            with suppress(StorageError):  # most objects have none
                beside = fetch_source(uri + SIDECAR_SUFFIX, kind="text")
        return FileToCheck(source=source, media_type=media_type, sidecar=beside)


@task(**NOT_CACHED, **RETRY_IO)
@traced
def check_credentials(file: FileToCheck) -> CheckedFile:
    """
    Check the manifest of a fetched file; without an intact one, look for the output that it was made from.

    Damaged and hostile files give a result, never an error. Nothing that a manifest refers to is fetched.

    Args:
        file: the file from `fetch_file`.

    Raises:
        SigningFailed: a file with trusted certificates cannot be read.
        StorageError:  the system's own store does not respond.
    """
    with phase("verify"), TemporaryDirectory() as folder:
        found = verify_isolated(
            source_path(file.source),
            file.media_type,
            anchors=trust_anchors(),
            sidecar=_sidecar_path(file, Path(folder)),
            limit_s=_LIMIT_S,
        )
        is_intact = found["state"] in ("valid", "unknown_signer")
        if is_intact:
            return CheckedFile(**found)
        return CheckedFile(**found, found=_find_outputs(file.source), mark=_find_mark(file.source))


def _find_mark(source: SourceFile) -> MarkFinding | None:
    with ignore_damage():
        return find_mark(source_path(source))
    return None


def _find_outputs(source: SourceFile) -> list[FoundFile]:
    """Return outputs with the same bytes; if there are none, those with similar pictures or sound."""
    equal = find_outputs(source.sha256)
    if equal:
        return [FoundFile(job=one.job, name=one.name, how="file", confidence=1.0) for one in equal]
    return [
        FoundFile(
            job=output.job,
            name=output.name,
            how="fingerprint",
            confidence=match.confidence,
            picture=match.picture,
            sound=match.sound,
        )
        for output, match in find_similar(fingerprint_of(source_path(source)))
    ]


def _sidecar_path(file: FileToCheck, folder: Path) -> Path | None:
    if file.sidecar is not None:
        return source_path(file.sidecar) if file.sidecar.size <= MAX_SIDECAR_BYTES else None
    if file.source.stored is None or is_embeddable(file.media_type):
        return None
    content = read_sidecar(file.source.stored)
    if content is None:
        return None
    path = folder / "manifest.c2pa"
    path.write_bytes(content)
    return path
