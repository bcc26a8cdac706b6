"""Public references to output files: `s3://` in a client's bucket, `job://` in the system's own store."""

from collections.abc import Mapping
from typing import Any

from flows.prefect_state.status import FILE_FIELDS
from tasks.catalog.stored_results import home_store_key
from tasks.errors import RenderError
from tasks.refs import job_uri


def public_uri(uri: str, job: object, name: str) -> str:
    """
    Return the public reference to a stored file, which other jobs accept as an input.

    Args:
        uri:  stored location, from the result of the job.
        job:  id of the job.
        name: name of the file.

    Returns:
        `s3://bucket/key` for a file in a bucket named by the job; `job://ID/name` for one in the system's own
        store, whose location is private.
    """
    return uri if _is_in_client_bucket(uri) else job_uri(job, name)


def public_result(result: Mapping[str, Any], job: object) -> dict[str, Any]:
    """
    Return a copy of a result in which every file location is replaced by its public reference.

    Args:
        result: result as stored.
        job:    id of the job.
    """
    public = dict(result)
    for field in FILE_FIELDS:
        if isinstance(public.get(field), Mapping):
            public[field] = _with_public_uri(public[field], job, str(public.get("name", "")))
    if isinstance(public.get("files"), Mapping):
        public["files"] = _with_public_uris(public["files"], job)
    credentials = public.get("provenance")
    if isinstance(credentials, Mapping) and isinstance(credentials.get("sidecars"), Mapping):
        public["provenance"] = {**credentials, "sidecars": _with_public_uris(credentials["sidecars"], job)}
    if isinstance(public.get("steps"), Mapping):  # pipeline: each step is a child job
        public["steps"] = {name: _with_step_public_uris(step) for name, step in public["steps"].items()}
    return public


def _with_step_public_uris(step: Any) -> Any:
    if not isinstance(step, Mapping) or not isinstance(step.get("files"), Mapping):  # pyright: ignore
        return step  # pyright: ignore[reportUnknownVariableType]
    return {**step, "files": _with_public_uris(step["files"], step.get("job"))}


def _with_public_uris(files: Mapping[str, Any], job: object) -> dict[str, Any]:
    return {name: _with_public_uri(stored, job, name) for name, stored in files.items()}


def _with_public_uri(stored: Mapping[str, Any], job: object, name: str) -> dict[str, Any]:
    return {**stored, "uri": public_uri(str(stored.get("uri", "")), job, name)}


def _is_in_client_bucket(uri: str) -> bool:
    if not uri.startswith("s3://"):
        return False
    try:
        return home_store_key(uri) is None
    except RenderError:  # the store cannot be opened: keep the location private
        return False
