"""Resolution of `job://ID` references: the finished output of another job as an input."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

from musetalk_core.errors import InputError
from tasks.catalog.stored_results import home_store_key
from tasks.errors import ObjectMissing
from tasks.inputs.internal_files import ArtefactFile, InternalFile, StoredFile
from tasks.refs import ObjectRef, job_file_name
from tasks.run.tenancy import TENANT_TAG, may_use

_SPEECH_KIND = "speech"
"""Cache kind of a spoken text."""
_MAIN_FILE_FIELDS = ("video", "audio", "picture")
"""Fields of a result that may hold the main output, in order of preference."""


@dataclass(frozen=True, slots=True)
class ResolvedInput:
    """
    The location of an input after `job://` was resolved.

    Attributes:
        location: a media reference, or an internal file.
        speech:   cache key of the spoken text, if the input was made by a speech job of this system.
    """

    location: str | InternalFile
    speech: str | None = None


def resolve_input(reference: str | InternalFile) -> ResolvedInput:
    """
    Resolve a `job://` reference. Other references are returned unchanged, with the key of spoken text.

    Args:
        reference: the job's reference, or a file that another step made.

    Raises:
        InputError:    the id in the reference is not a UUID.
        ObjectMissing: the job is unknown, unfinished, or has no such file.
    """
    if isinstance(reference, ArtefactFile) and reference.kind == _SPEECH_KIND:
        return ResolvedInput(reference, reference.key)
    if not isinstance(reference, str) or not reference.startswith("job://"):
        return ResolvedInput(reference)
    rest = reference.removeprefix("job://")
    job, name = rest.partition("/")[0], job_file_name(rest)
    result = _read_result(job)
    stored_file = find_file(_files_by_name(result), name) if name else _main_file(result)
    if stored_file is None:
        what = f"file {name}" if name else "audio, video or picture"
        raise ObjectMissing(f"job {job} has no {what}")
    speech = result.get("speech")
    is_sound = stored_file == (result.get("video") or result.get("audio"))
    ref = ObjectRef.model_validate({name: stored_file.get(name) for name in ObjectRef.model_fields})
    return ResolvedInput(
        StoredFile(ref=ref, key=home_store_key(ref.uri)), speech["key"] if speech and is_sound else None
    )


def find_file(files: Mapping[str, Any], name: str) -> Any:
    """
    Return one file of a job's result.

    Args:
        files: all files by name.
        name:  a file name, or an extension that only one file has, such as srt.

    Returns:
        The record of the file; None if no file or several files match.
    """
    if name in files:
        return files[name]
    matches = [file for file in files if file.endswith(f".{name}")]
    return files[matches[0]] if len(matches) == 1 else None


def _main_file(result: Mapping[str, Any]) -> dict[str, Any] | None:
    return next((result[field] for field in _MAIN_FILE_FIELDS if result.get(field)), None)


def _files_by_name(result: Mapping[str, Any]) -> dict[str, Any]:
    files = dict(result.get("files") or {})
    main = _main_file(result)
    return files | {str(result["name"]): main} if main and "name" in result else files


def _read_result(job: str) -> dict[str, Any]:
    try:
        run = UUID(job)
    except ValueError:
        raise InputError(f"job://{job} is not a valid reference: the id of a job is a UUID") from None
    artifact_query = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run]), key=ArtifactFilterKey(any_=["result"])
    )
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(artifact_filter=artifact_query, limit=1)
        if artifacts and not _is_visible(client, run):
            artifacts = []
    if not artifacts:
        raise ObjectMissing(f"job {job} is unknown or has not finished")
    data: Any = artifacts[0].data
    return json.loads(data) if isinstance(data, str) else data  # Prefect stores JSON artifacts as text


def _is_visible(client: Any, run: UUID) -> bool:
    """Return whether the current tenant may use a run. The API's check does not cover rows of manifests."""
    run_details = client.read_flow_run(run)
    owners = {tag.removeprefix(TENANT_TAG) for tag in run_details.tags if tag.startswith(TENANT_TAG)}
    control: Any = (run_details.parameters or {}).get("control")
    if isinstance(control, Mapping) and (named := control.get("tenant")):  # pyright: ignore
        owners.add(str(named))
    if len(owners) > 1:  # visible only to keys without a tenant
        return may_use(", ".join(sorted(owners)))
    return may_use(next(iter(owners), None))
