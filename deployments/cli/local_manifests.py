"""Local files in the manifest of a batch and in the steps of a pipeline: uploaded before the job is sent."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from api.local_files import find_local_file, map_media_fields, missing_file_message
from deployments.cli.errors import UsageError
from deployments.cli.parameters import require_job_type
from deployments.cli.suggestions import did_you_mean, parameter_paths
from flows.batches.manifest import ID_FIELD
from flows.registry import JOB_TYPES
from tasks.refs import media_fields

if TYPE_CHECKING:
    from api.client import MusetalkClient


def upload_manifest(client: "MusetalkClient", manifest: str, job_type: str) -> str:
    """
    Upload a manifest and the local files that it names, each once by content.

    Args:
        client:   API client.
        manifest: path of a JSON Lines or CSV file, or a media reference, which is returned unchanged. Paths
            in it are relative to its folder, or else to the working directory.
        job_type: job type of every row.

    Returns:
        Reference of the manifest, in which references replace the paths. Lines that cannot be parsed stay as
        they are: the batch reports them as invalid rows.

    Raises:
        UsageError: the manifest or a file that it names does not exist.
    """
    if "://" in manifest:
        return manifest
    path = Path(manifest)
    if not path.is_file():
        raise UsageError(missing_file_message(path))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8.") from error
    is_csv = path.suffix.lower() == ".csv" or not text.lstrip().startswith("{")
    if is_csv:
        _require_known_columns(text, job_type, path)
    _require_files(text, is_csv, job_type, path)
    lines = _csv_lines if is_csv else _json_lines

    def upload(value: str) -> str:
        return client.reference(value, path.parent)

    changed = "".join(lines(text, job_type, upload))
    content = changed.encode()
    return client.upload_stream(io.BytesIO(content), path.name, len(content))


def upload_pipeline_files(client: "MusetalkClient", document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """
    Return a pipeline in whose steps references replace local files, each of which is uploaded once.

    Args:
        client:   API client.
        document: the pipeline.
        folder:   folder of its file: paths are relative to it, or else to the working directory.
    """
    steps: Any = document.get("steps")
    if not isinstance(steps, list):
        return document
    return document | {"steps": [_with_uploads(client, step, folder) for step in cast(list[Any], steps)]}


def _with_uploads(client: "MusetalkClient", step: Any, folder: Path) -> Any:
    if not isinstance(step, dict):
        return step  # pyright: ignore[reportUnknownVariableType]
    fields = cast(dict[str, Any], step)
    job_type, job = fields.get("type"), fields.get("job")
    if isinstance(job_type, str):
        require_job_type(job_type)
    if not isinstance(job_type, str) or not isinstance(job, dict):
        return fields
    return fields | {"job": client.upload_inputs(job_type, cast(dict[str, Any], job), folder)}


def _require_known_columns(text: str, job_type: str, manifest: Path) -> None:
    """Check the heading of a CSV file: an unknown column would make every row invalid."""
    schema = JOB_TYPES[job_type].job
    rows = csv.reader(io.StringIO(text, newline=""))
    heading = next((cells for cells in rows if any(cell.strip() for cell in cells)), [])
    for cell in heading:
        name, known = cell.strip(), {ID_FIELD, *schema.model_fields}
        if name and name.split(".")[0] not in known:
            columns = [ID_FIELD, *parameter_paths(schema)]
            nested = next((f" Did you mean {one}?" for one in columns if one.endswith(f".{name}")), "")
            listed = f" Columns: {', '.join([ID_FIELD, *schema.model_fields])}."
            hint = nested or did_you_mean(name, columns) or listed
            raise UsageError(f"{manifest}: {job_type} has no parameter {name}, so no row can be used.{hint}")


def _require_files(text: str, is_csv: bool, job_type: str, manifest: Path) -> None:
    """Check that all local files exist before the first is uploaded."""
    missing: list[str] = []

    def check(value: str) -> str:
        if value and "://" not in value and not find_local_file(value, manifest.parent).is_file():
            missing.append(value)
        return value

    for _ in (_csv_lines if is_csv else _json_lines)(text, job_type, check):
        pass
    if missing:
        names = ", ".join(list(dict.fromkeys(missing))[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise UsageError(
            f"{manifest} names files that do not exist: {names}{more}. Paths are relative to the manifest."
        )


def _json_lines(text: str, job_type: str, change: Callable[[str], str]) -> Iterator[str]:
    schema = JOB_TYPES[job_type].job
    for line in text.splitlines(keepends=True):
        try:
            record: Any = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            yield json.dumps(map_media_fields(schema, cast(dict[str, Any], record), change)) + "\n"
        else:
            yield line


def _csv_lines(text: str, job_type: str, change: Callable[[str], str]) -> Iterator[str]:
    media = media_fields(JOB_TYPES[job_type].job)
    heading: list[str] | None = None
    for cells in csv.reader(io.StringIO(text, newline="")):
        if heading is None and any(cell.strip() for cell in cells):
            heading = [cell.strip() for cell in cells]
        elif heading is not None:
            names = [*heading, *[""] * len(cells)]
            cells = [change(cell) if cell and name in media else cell for name, cell in zip(names, cells)]  # noqa: B905
        row = io.StringIO(newline="")
        csv.writer(row).writerow(cells)
        yield row.getvalue()
