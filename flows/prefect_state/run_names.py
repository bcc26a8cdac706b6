"""Names of flow runs on Prefect's pages: the job type, the names of the inputs, and a short unique part."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from flows.schemas.base import JobParameters
from tasks.file_names import plain_name
from tasks.refs import media_fields

AssetName = Callable[[str], str | None]
"""Returns the file name of an uploaded asset by its id; None if it is not known."""

_GENERATED: Final = re.compile(r"[a-z]+-[a-z]+")
"""Names that Prefect gives to runs that were created without one, for example `crimson-fox`."""
_MAX_FILE_CHARS: Final = 40
_MAX_FILES: Final = 3
_ID_CHARS: Final = 8


def is_generated_name(name: str) -> bool:
    """Return whether Prefect generated the name of a run, as it does for schedules and its own forms."""
    return _GENERATED.fullmatch(name) is not None


def job_run_name(
    job_type: str,
    schema: type[JobParameters],
    job: Mapping[str, Any],
    unique: str,
    part: str = "",
    asset_name: AssetName = lambda _: None,
) -> str:
    """
    Return the name of a run, for example `lip_sync: anna.mp4, hello.wav (1f0c9d2e)`.

    It contains no text of the job and nothing of an address but the file's name: addresses may carry
    credentials, and names of runs appear in logs.

    Args:
        job_type:   name of the job type.
        schema:     its request schema; declares which fields are media references.
        job:        request fields as JSON, not necessarily valid.
        unique:     what tells this run from others of the same files; its first eight characters are used.
        part:       name of the step or row, for a child job.
        asset_name: returns the file name of an uploaded asset.
    """
    names = list(_file_names(schema, job, asset_name))[:_MAX_FILES]
    if not names and isinstance(output := job.get("output"), Mapping):
        names = list(_plain(output.get("name")))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]  JSON
    if not names:
        names = list(_plain(job.get("name")))
    shown = ", ".join([*_plain(part), *names])
    return f"{job_type}: {shown} ({unique[:_ID_CHARS]})" if shown else f"{job_type} ({unique[:_ID_CHARS]})"


def name_without_files(name: str) -> str:
    """Return the name of a run whose job was deleted: without the names of files."""
    return f"{name.partition(':')[0]} (deleted)"


def _file_names(schema: type[JobParameters], job: Mapping[str, Any], asset_name: AssetName) -> Iterator[str]:
    fields = media_fields(schema)
    for field in schema.model_fields:
        reference = job.get(field)
        if field in fields and isinstance(reference, str):
            yield from _plain(_file_name(reference, asset_name))


def _file_name(reference: str, asset_name: AssetName) -> str | None:
    scheme, _, rest = reference.partition("://")
    if scheme == "asset":
        return asset_name(rest) or f"upload {rest[:_ID_CHARS]}"
    if scheme == "job":
        job_id, _, name = rest.partition("/")
        return name or f"result of {job_id[:_ID_CHARS]}"
    if scheme == "s3":  # keys are opaque: they may contain ? and #
        return rest.rpartition("/")[2]
    try:
        return unquote(urlsplit(reference).path).rpartition("/")[2]
    except ValueError:
        return None


def _plain(name: Any) -> Iterable[str]:
    """Yield a name without control characters and at most 40 characters long; nothing for an empty one."""
    if not isinstance(name, str) or not name.strip():
        return
    plain = plain_name(name)
    yield plain if len(plain) <= _MAX_FILE_CHARS else f"{plain[: _MAX_FILE_CHARS - 1]}…"
