"""How a job's files are named to others: by their bucket where it is a client's, else by the job."""

from collections.abc import Mapping
from typing import Any

from flows.outcome import FILE_FIELDS
from tasks.errors import RenderError
from tasks.refs import job_uri
from tasks.stored_results import own_key


def public_uri(uri: str, job: object, name: str) -> str:
    """
    Return the reference by which other jobs, and people, name a stored file.

    Args:
        uri:  where it is, as its job wrote it down.
        job:  id of the job.
        name: of the file.

    Returns:
        `s3://bucket/key` for a file in a bucket that the job named; `job://ID/name` for one in the system's
        own store, whose place is not told and cannot be named.
    """
    return uri if _is_in_a_bucket_of_clients(uri) else job_uri(job, name)


def public_result(result: Mapping[str, Any], job: object) -> dict[str, Any]:
    """
    Return a job's result with its files named as `public_uri` names them.

    Args:
        result: as the job wrote it down.
        job:    its id.
    """
    shown = dict(result)
    for field in FILE_FIELDS:
        if isinstance(shown.get(field), Mapping):
            shown[field] = _named(shown[field], job, str(shown.get("name", "")))
    if isinstance(shown.get("files"), Mapping):
        shown["files"] = _all_named(shown["files"], job)
    if isinstance(shown.get("steps"), Mapping):  # of a pipeline: each made its files in a job of its own
        shown["steps"] = {name: _step(step) for name, step in shown["steps"].items()}
    return shown


def _step(step: Any) -> Any:
    if not isinstance(step, Mapping) or not isinstance(step.get("files"), Mapping):  # pyright: ignore
        return step  # pyright: ignore[reportUnknownVariableType]
    return {**step, "files": _all_named(step["files"], step.get("job"))}


def _all_named(files: Mapping[str, Any], job: object) -> dict[str, Any]:
    return {name: _named(stored, job, name) for name, stored in files.items()}


def _named(stored: Mapping[str, Any], job: object, name: str) -> dict[str, Any]:
    return {**stored, "uri": public_uri(str(stored.get("uri", "")), job, name)}


def _is_in_a_bucket_of_clients(uri: str) -> bool:
    if not uri.startswith("s3://"):
        return False
    try:
        return own_key(uri) is None
    except RenderError:  # the store cannot be opened, and an answer does not depend on it
        return False
