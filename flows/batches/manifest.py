"""
Parser for batch manifests: one job per row, as JSON Lines or CSV.

Rows are read one at a time, so memory use does not depend on the length of the manifest. An invalid row is
reported with its errors; the other rows still run.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from pydantic import ValidationError

from flows.schemas.base import JobParameters, error_detail
from tasks.cache.content_keys import content_key

ManifestFormat = Literal["jsonl", "csv"]

MAX_LINE_CHARS: Final = 200_000
"""Maximum line length in characters; a job text has at most 100,000."""
_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ID_FIELD: Final = "id"
_TOO_LONG_MARK: Final = "\0"
"""Replaces a line that is too long; the CSV parser passes it through as a single cell."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """An error in one field of a row."""

    pointer: str
    """The field as a JSON pointer; `#` is the whole row."""
    detail: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a job, or the errors that make it invalid."""

    number: int
    """Row number from 1; blank lines and the CSV header are not counted."""
    id: str
    """Its `id` field, or `row-` and its number."""
    job: JobParameters | None
    faults: tuple[FieldFault, ...] = ()
    key: str = field(default="", compare=False)
    """SHA-256 of job type and content: equal work has equal keys, independent of position."""


def read_rows(
    lines: Iterable[str],
    manifest_format: ManifestFormat,
    job_type: str,
    schema: type[JobParameters],
    defaults: Mapping[str, Any] | None = None,
) -> Iterator[Row]:
    """
    Parse a manifest and yield its rows.

    Args:
        lines:           lines of the manifest, with or without line ends.
        manifest_format: jsonl: one JSON object per line. csv: a header line with field names, nested ones
            with dots (`output.name`); an empty cell leaves the field unset, and lists and objects are JSON.
        job_type:        job type.
        schema:          request schema of the job type.
        defaults:        default fields of every job; nested fields are merged one by one.

    Yields:
        Rows in their order. A row that repeats an earlier `id` is invalid.
    """
    records = _json_records(lines) if manifest_format == "jsonl" else _csv_records(lines)
    return validate_rows(records, job_type, schema, defaults)


def validate_rows(
    records: Iterable[Mapping[str, Any] | FieldFault],
    job_type: str,
    schema: type[JobParameters],
    defaults: Mapping[str, Any] | None = None,
) -> Iterator[Row]:
    """
    Validate parsed records and yield them as rows.

    Args:
        records:  fields of each row, or the error that occurred while parsing it.
        job_type: as in `read_rows`.
        schema:   as in `read_rows`.
        defaults: as in `read_rows`.

    Yields:
        As `read_rows`.
    """
    seen_ids: set[str] = set()
    for number, record in enumerate(records, start=1):
        row = _validate_row(number, record, job_type, schema, defaults or {})
        if row.id in seen_ids:
            row = Row(
                number, row.id, None, (FieldFault(f"#/{ID_FIELD}", f"another row has the id {row.id}"),)
            )
        seen_ids.add(row.id)
        yield row


def _validate_row(
    number: int,
    record: Mapping[str, Any] | FieldFault,
    job_type: str,
    schema: type[JobParameters],
    defaults: Mapping[str, Any],
) -> Row:
    row_id = f"row-{number}"
    if isinstance(record, FieldFault):
        return Row(number, row_id, None, (record,))
    requested_id = record.get(ID_FIELD)
    fields = {field: value for field, value in record.items() if field != ID_FIELD}
    if requested_id is not None:
        if not _ID_PATTERN.fullmatch(str(requested_id)):
            detail = "expected an id of up to 64 letters, digits, dots, hyphens and underscores"
            return Row(number, row_id, None, (FieldFault(f"#/{ID_FIELD}", detail),))
        row_id = str(requested_id)
    try:
        job = schema.model_validate(_merge_defaults(defaults, fields))
    except ValidationError as error:
        return Row(
            number,
            row_id,
            None,
            tuple(_to_field_fault(one, schema) for one in error.errors(include_url=False)),
        )
    return Row(number, row_id, job, key=work_key(job_type, job))


def _to_field_fault(error: Any, schema: type[JobParameters]) -> FieldFault:
    pointer = "/".join(str(part) for part in error["loc"])
    return FieldFault(f"#/{pointer}" if pointer else "#", error_detail(error, [schema], error["loc"]))


def work_key(job_type: str, job: JobParameters) -> str:
    """Return the hash of a row's work: equal work has equal keys, independent of position."""
    return content_key(type=job_type, job=job.model_dump(mode="json", exclude_unset=True))


def _merge_defaults(defaults: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(defaults)
    for name, value in overrides.items():
        default = merged.get(name)
        if isinstance(default, Mapping) and isinstance(value, Mapping):
            value = _merge_defaults(cast(Mapping[str, Any], default), cast(Mapping[str, Any], value))
        merged[name] = value
    return merged


def _json_records(lines: Iterable[str]) -> Iterator[dict[str, Any] | FieldFault]:
    for line in lines:
        text = line.strip().removeprefix("\ufeff")
        if not text:
            continue
        yield _json_record(text)


def _json_record(text: str) -> dict[str, Any] | FieldFault:
    if len(text) > MAX_LINE_CHARS:
        return FieldFault("#", f"a line has at most {MAX_LINE_CHARS} characters")
    try:
        parsed: Any = json.loads(text)
    except (ValueError, RecursionError):
        return FieldFault("#", "the line is not JSON")
    return (
        cast(dict[str, Any], parsed)
        if isinstance(parsed, dict)
        else FieldFault("#", "the line is not a JSON object")
    )


def _csv_records(lines: Iterable[str]) -> Iterator[dict[str, Any] | FieldFault]:
    reader = csv.reader(_replace_long_lines(lines), strict=True)
    heading: list[str] | None = None
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:  # the reader continues with the next line
            yield FieldFault("#", f"the line is not CSV: {error}")
            continue
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if heading is None:
            heading = [cell.strip().removeprefix("\ufeff") for cell in cells]
        else:
            yield _csv_record(heading, cells)


def _replace_long_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines, replacing each one that is too long by a marker."""
    for line in lines:
        yield line if len(line) <= MAX_LINE_CHARS else _TOO_LONG_MARK


def _csv_record(heading: list[str], cells: list[str]) -> dict[str, Any] | FieldFault:
    if cells == [_TOO_LONG_MARK]:
        return FieldFault("#", f"a line has at most {MAX_LINE_CHARS} characters")
    if len(cells) > len(heading):
        return FieldFault("#", f"the row has {len(cells)} cells, but the header line has {len(heading)}")
    record: dict[str, Any] = {}
    for name, cell in zip(heading, cells, strict=False):
        if cell == "":
            continue
        *path, last = name.split(".")
        target = record
        for part in path:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                return FieldFault("#", f"the header line has both {part} and {name}")
        if isinstance(target.get(last), dict):
            return FieldFault("#", f"the header line has both {last} and a field inside it")
        target[last] = _parse_cell(cell)
    return record


def _parse_cell(cell: str) -> Any:
    if cell.startswith(("[", "{")):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell
    return cell
