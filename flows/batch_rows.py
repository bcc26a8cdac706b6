"""
Rows of a batch: from the request, from a manifest, or from the objects in bucket folders.

Light imports: the REST API uses this module for dry runs.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from flows.batch_schemas import MOST_ROWS, BatchJob
from flows.job_access import access_faults
from flows.job_types import WORK_TYPES
from flows.manifest import Fault, Format, Row, read_rows, rows_of
from tasks.errors import ManifestInvalid
from tasks.internal_files import InternalFile
from tasks.keys import content_key
from tasks.listing import Listed, list_folder, look_at
from tasks.sources import fetch_source, source_path

_MOVING: Final = ["mp4", "mov", "mkv", "webm", "avi", "m4v"]
_SOUND: Final = ["wav", "mp3", "flac", "ogg", "oga", "opus", "m4a", "aac", "wma", "aif", "aiff"]
_STILL: Final = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"]
_ENDINGS: Final = {
    # file extensions accepted per field; other objects in a folder are ignored
    "audio": frozenset([*_SOUND, *_MOVING]),
    "reference_audio": frozenset([*_SOUND, *_MOVING]),
    "video": frozenset([*_MOVING, *_STILL, "mpg", "mpeg", "ts", "wmv", "flv"]),
    "image": frozenset(_STILL),
    "captions": frozenset(["srt", "vtt"]),
}
_NO_ID: Final = re.compile(r"[^A-Za-z0-9._-]+")
_ID_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class Placed:
    """A row that was built from bucket objects, and the modification time of the newest of them."""

    row: Row
    modified: datetime


def batch_rows(job: BatchJob) -> Iterator[Row]:
    """
    Yield the rows of a batch.

    Raises:
        ManifestInvalid: there are more than `MAX_ROWS` rows, or the manifest is not UTF-8 text.
        InputError, StorageError, BucketNotAllowed: the manifest or a folder cannot be read.
    """
    schema = WORK_TYPES[job.job_type].job
    if job.rows is not None:
        found = map(_usable, rows_of(job.rows, job.job_type, schema, job.defaults))
    elif job.manifest is not None:
        found = map(_usable, _of_manifest(job.manifest, job))
    else:
        found = (placed.row for placed in placed_rows(job.job_type, job.places or {}, job.defaults))
    for row in found:
        if row.number > MOST_ROWS:
            raise ManifestInvalid(f"A batch has at most {MOST_ROWS} rows.")
        yield row


def _usable(row: Row) -> Row:
    """Return the row, or an invalid row with the errors of its inputs and output locations."""
    found = access_faults(row.job) if row.job is not None else ()
    faults = tuple(Fault(fault.pointer, str(fault.error)) for fault in found)
    return Row(row.number, row.id, None, faults) if faults else row


def _of_manifest(uri: str, job: BatchJob) -> Iterator[Row]:
    where: str | InternalFile = uri
    if uri.startswith("job://"):
        from tasks.jobs import resolve  # imports Prefect's client, so import it only when needed

        where = resolve(uri).where
    source = fetch_source(where, kind="text")
    path = source_path(source)
    with path.open("rb") as file:
        start = file.read(4096)
    looks_like_json = start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{")
    form: Format = "jsonl" if looks_like_json and not source.name.lower().endswith(".csv") else "csv"
    with path.open(encoding="utf-8-sig", newline="") as lines:
        try:
            yield from read_rows(lines, form, job.job_type, WORK_TYPES[job.job_type].job, job.defaults)
        except UnicodeDecodeError:
            raise ManifestInvalid(f"{source.name} is not text in UTF-8.") from None


def placed_rows(job_type: str, places: Mapping[str, str], defaults: Mapping[str, Any]) -> Iterator[Placed]:
    """
    Pair the objects of several folders by name and yield one row per name that all folders contain.

    Args:
        job_type:         job type of the rows.
        folders_by_field: for each field a folder, or one object for all rows.
        defaults:         fields of every job.

    Yields:
        Rows sorted by name. The row key covers the object versions, so a replaced object is new work.
    """
    fixed = {field: look_at(uri) for field, uri in places.items() if not uri.endswith("/")}
    folders = {field: _by_stem(field, list_folder(uri)) for field, uri in places.items() if uri.endswith("/")}
    common = set[str].intersection(*(set(found) for found in folders.values()))
    chosen: list[dict[str, Listed]] = []
    records: list[dict[str, Any] | Fault] = []
    for stem in sorted(common):
        here = {field: found[stem] for field, found in folders.items()}
        if field := next((field for field, objects in here.items() if len(objects) > 1), None):
            records.append(Fault(f"#/{field}", f"{len(here[field])} objects are named {stem[:80]}"))
            chosen.append({field: objects[0] for field, objects in here.items()})
            continue
        chosen.append({field: objects[0] for field, objects in here.items()} | fixed)
        records.append({"id": _id(stem), **{field: one.uri for field, one in chosen[-1].items()}})
    rows = rows_of(records, job_type, WORK_TYPES[job_type].job, defaults)
    for row, objects in zip(rows, chosen, strict=True):
        versions = {field: one.version for field, one in objects.items()}
        newest = max(one.modified for one in objects.values())
        key = content_key(row=row.key, versions=versions) if row.job else ""
        yield Placed(_usable(replace(row, key=key)), newest)


def _by_stem(field: str, found: Iterator[Listed]) -> dict[str, list[Listed]]:
    kinds = _ENDINGS.get(field)
    by_stem: defaultdict[str, list[Listed]] = defaultdict(list)
    for one in found:
        if kinds is None or one.uri.rpartition(".")[2].lower() in kinds:
            by_stem[one.stem].append(one)
    return by_stem


def _id(stem: str) -> str:
    """Derive a row id from an object name; long names and names with other characters end in a hash."""
    plain = _NO_ID.sub("_", stem).lstrip("._-") or "object"
    if plain == stem and len(plain) <= _ID_LENGTH:
        return plain
    return f"{plain[: _ID_LENGTH - 9]}-{content_key(stem=stem)[:8]}"
