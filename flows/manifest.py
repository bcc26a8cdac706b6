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

from flows.job import Job
from tasks.keys import content_key

Format = Literal["jsonl", "csv"]

LONGEST_LINE: Final = 200_000
"""Maximum line length in characters; a job text has at most 100,000."""
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID_FIELD: Final = "id"
_TOO_LONG: Final = "\0"
"""Stands for a line that is too long; the CSV parser passes it through as a single cell."""


@dataclass(frozen=True, slots=True)
class Fault:
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
    job: Job | None
    faults: tuple[Fault, ...] = ()
    key: str = field(default="", compare=False)
    """SHA-256 of job type and content: equal work has equal keys, independent of position."""


def read_rows(
    lines: Iterable[str], form: Format, name: str, job: type[Job], defaults: Mapping[str, Any] | None = None
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
    records = _json_records(lines) if form == "jsonl" else _csv_records(lines)
    return rows_of(records, name, job, defaults)


def rows_of(
    records: Iterable[Mapping[str, Any] | Fault],
    name: str,
    job: type[Job],
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
    seen: set[str] = set()
    for number, record in enumerate(records, start=1):
        row = _row(number, record, name, job, defaults or {})
        if row.id in seen:
            row = Row(number, row.id, None, (Fault(f"#/{_ID_FIELD}", f"another row has the id {row.id}"),))
        seen.add(row.id)
        yield row


def _row(
    number: int, record: Mapping[str, Any] | Fault, name: str, job: type[Job], defaults: Mapping[str, Any]
) -> Row:
    own = f"row-{number}"
    if isinstance(record, Fault):
        return Row(number, own, None, (record,))
    wanted = record.get(_ID_FIELD)
    fields = {field: value for field, value in record.items() if field != _ID_FIELD}
    if wanted is not None:
        if not _ID.fullmatch(str(wanted)):
            detail = "expected an id of up to 64 letters, digits, dots, hyphens and underscores"
            return Row(number, own, None, (Fault(f"#/{_ID_FIELD}", detail),))
        own = str(wanted)
    try:
        made = job.model_validate(_merged(defaults, fields))
    except ValidationError as error:
        return Row(number, own, None, tuple(_fault(one) for one in error.errors(include_url=False)))
    return Row(number, own, made, key=row_key(name, made))


def _fault(error: Any) -> Fault:
    place = "/".join(str(part) for part in error["loc"])
    return Fault(f"#/{place}" if place else "#", str(error["msg"]).removeprefix("Value error, "))


def row_key(name: str, job: Job) -> str:
    """Return the hash of a row's work: equal work has equal keys, independent of position."""
    return content_key(type=name, job=job.model_dump(mode="json", exclude_unset=True))


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(defaults)
    for name, value in given.items():
        old = both.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = _merged(cast(Mapping[str, Any], old), cast(Mapping[str, Any], value))
        both[name] = value
    return both


def _json_records(lines: Iterable[str]) -> Iterator[dict[str, Any] | Fault]:
    for line in lines:
        text = line.strip().removeprefix("\ufeff")
        if not text:
            continue
        yield _json_record(text)


def _json_record(text: str) -> dict[str, Any] | Fault:
    if len(text) > LONGEST_LINE:
        return Fault("#", f"a line has at most {LONGEST_LINE} characters")
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return Fault("#", "the line is not JSON")
    return (
        cast(dict[str, Any], found)
        if isinstance(found, dict)
        else Fault("#", "the line is not a JSON object")
    )


def _csv_records(lines: Iterable[str]) -> Iterator[dict[str, Any] | Fault]:
    reader = csv.reader(_short(lines), strict=True)
    heading: list[str] | None = None
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:  # the reader continues with the next line
            yield Fault("#", f"the line is not CSV: {error}")
            continue
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if heading is None:
            heading = [cell.strip().removeprefix("\ufeff") for cell in cells]
        else:
            yield _csv_record(heading, cells)


def _short(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines, replacing each one that is too long by a marker."""
    for line in lines:
        yield line if len(line) <= LONGEST_LINE else _TOO_LONG


def _csv_record(heading: list[str], cells: list[str]) -> dict[str, Any] | Fault:
    if cells == [_TOO_LONG]:
        return Fault("#", f"a line has at most {LONGEST_LINE} characters")
    if len(cells) > len(heading):
        return Fault("#", f"the row has {len(cells)} cells, but the header line has {len(heading)}")
    record: dict[str, Any] = {}
    for name, cell in zip(heading, cells, strict=False):
        if cell == "":
            continue
        *path, last = name.split(".")
        place = record
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                return Fault("#", f"the header line has both {part} and {name}")
        if isinstance(place.get(last), dict):
            return Fault("#", f"the header line has both {last} and a field inside it")
        place[last] = _value(cell)
    return record


def _value(cell: str) -> Any:
    if cell.startswith(("[", "{")):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell
    return cell
