"""
Rows of a batch: from the request, from a manifest, or from the objects in bucket folders.

Light imports: the REST API uses this module for dry runs.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final
from unicodedata import normalize

from flows.batches.manifest import FieldFault, ManifestFormat, Row, read_rows, validate_rows
from flows.schemas.batch import MAX_ROWS, BatchJob
from flows.schemas.job_types import MEDIA_JOB_TYPES
from flows.storage.job_access import access_faults
from tasks.cache.content_keys import content_key
from tasks.errors import ManifestInvalid
from tasks.inputs.internal_files import InternalFile
from tasks.inputs.sources import fetch_source, source_path
from tasks.run.retry import Retry, call_once
from tasks.storage.listing import StoredObject, head_object, list_folder

_VIDEO_EXTENSIONS: Final = ["mp4", "mov", "mkv", "webm", "avi", "m4v", "3gp", "ts", "mts", "m2ts"]
_AUDIO_EXTENSIONS: Final = [
    *("wav", "w64", "mp3", "mp2", "flac", "ogg", "oga", "opus", "m4a", "m4b", "aac", "mka", "weba", "wma"),
    *("aif", "aiff", "aifc", "caf", "amr", "au", "snd", "wv", "ac3", "eac3", "dts", "sph"),
]
_IMAGE_EXTENSIONS: Final = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"]
_EXTENSIONS_BY_FIELD: Final = {
    # file extensions accepted per field; other objects in a folder are ignored
    "audio": frozenset([*_AUDIO_EXTENSIONS, *_VIDEO_EXTENSIONS]),
    "reference_audio": frozenset([*_AUDIO_EXTENSIONS, *_VIDEO_EXTENSIONS]),
    "video": frozenset([*_VIDEO_EXTENSIONS, *_IMAGE_EXTENSIONS, "mpg", "mpeg", "wmv", "flv"]),
    "image": frozenset(_IMAGE_EXTENSIONS),
    "captions": frozenset(["srt", "vtt"]),
}
_INVALID_ID_CHARACTERS: Final = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_ID_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class RowFromObjects:
    """A row that was built from bucket objects, and the modification time of the newest of them."""

    row: Row
    modified: datetime


def batch_rows(job: BatchJob, retry: Retry = call_once) -> Iterator[Row]:
    """
    Yield the rows of a batch.

    Args:
        job:   the batch.
        retry: retries of requests to the store.

    Raises:
        ManifestInvalid: there are more than `MAX_ROWS` rows, or the manifest is not UTF-8 text.
        InputError, StorageError, BucketNotAllowed: the manifest or a folder cannot be read.
    """
    schema = MEDIA_JOB_TYPES[job.job_type].job
    if job.rows is not None:
        rows = map(_check_row_access, validate_rows(job.rows, job.job_type, schema, job.defaults))
    elif job.manifest is not None:
        rows = map(_check_row_access, _rows_from_manifest(job.manifest, job, retry))
    else:
        placed_rows = rows_from_folders(job.job_type, job.places or {}, job.defaults, retry)
        rows = (placed.row for placed in placed_rows)
    for row in rows:
        if row.number > MAX_ROWS:
            raise ManifestInvalid(f"A batch has at most {MAX_ROWS} rows.")
        yield row


def _check_row_access(row: Row) -> Row:
    """Return the row, or an invalid row with the errors of its inputs and output locations."""
    faults_found = access_faults(row.job) if row.job is not None else ()
    faults = tuple(FieldFault(fault.pointer, str(fault.error)) for fault in faults_found)
    return Row(row.number, row.id, None, faults) if faults else row


def _rows_from_manifest(uri: str, job: BatchJob, retry: Retry) -> Iterator[Row]:
    location: str | InternalFile = uri
    if uri.startswith("job://"):
        from tasks.inputs.job_outputs import (
            resolve_input,  # imports Prefect's client, so import it only when needed
        )

        location = resolve_input(uri).location
    source = retry(partial(fetch_source, location, kind="text"))
    path = source_path(source)
    with path.open("rb") as file:
        start = file.read(4096)
    looks_like_json = start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{")
    manifest_format: ManifestFormat = (
        "jsonl" if looks_like_json and not source.name.lower().endswith(".csv") else "csv"
    )
    with path.open(encoding="utf-8-sig", newline="") as lines:
        try:
            yield from read_rows(
                lines, manifest_format, job.job_type, MEDIA_JOB_TYPES[job.job_type].job, job.defaults
            )
        except UnicodeDecodeError:
            raise ManifestInvalid(f"{source.name} is not text in UTF-8.") from None


def rows_from_folders(
    job_type: str,
    folders_by_field: Mapping[str, str],
    defaults: Mapping[str, Any],
    retry: Retry = call_once,
) -> Iterator[RowFromObjects]:
    """
    Pair the objects of several folders by name and yield one row per name that all folders contain.

    Names are equal in either Unicode form: macOS uploads é as e and an accent.

    Args:
        job_type:         job type of the rows.
        folders_by_field: for each field a folder, or one object for all rows.
        defaults:         fields of every job.
        retry:            retries of requests to the store.

    Yields:
        Rows sorted by name. The row key covers the object versions, so a replaced object is new work.
    """
    shared_objects = {
        field: retry(partial(head_object, uri))
        for field, uri in folders_by_field.items()
        if not uri.endswith("/")
    }
    folders = {
        field: retry(partial(_list_by_stem, field, uri))
        for field, uri in folders_by_field.items()
        if uri.endswith("/")
    }
    shared_stems = set[str].intersection(*(set(found) for found in folders.values()))
    objects_by_row: list[dict[str, StoredObject]] = []
    records: list[dict[str, Any] | FieldFault] = []
    for stem in sorted(shared_stems):
        candidates = {field: found[stem] for field, found in folders.items()}
        if field := next((field for field, objects in candidates.items() if len(objects) > 1), None):
            records.append(
                FieldFault(f"#/{field}", f"{len(candidates[field])} objects are named {stem[:80]}")
            )
            objects_by_row.append({field: objects[0] for field, objects in candidates.items()})
            continue
        objects_by_row.append({field: objects[0] for field, objects in candidates.items()} | shared_objects)
        records.append({"id": _row_id(stem), **{field: one.uri for field, one in objects_by_row[-1].items()}})
    rows = validate_rows(records, job_type, MEDIA_JOB_TYPES[job_type].job, defaults)
    for row, objects in zip(rows, objects_by_row, strict=True):
        versions = {field: one.version for field, one in objects.items()}
        newest = max(one.modified for one in objects.values())
        key = content_key(row=row.key, versions=versions) if row.job else ""
        yield RowFromObjects(_check_row_access(replace(row, key=key)), newest)


def _list_by_stem(field: str, folder: str) -> dict[str, list[StoredObject]]:
    extensions = _EXTENSIONS_BY_FIELD.get(field)
    by_stem: defaultdict[str, list[StoredObject]] = defaultdict(list)
    for listed in list_folder(folder):
        if extensions is None or listed.uri.rpartition(".")[2].lower() in extensions:
            by_stem[normalize("NFC", listed.stem)].append(listed)
    return by_stem


def _row_id(stem: str) -> str:
    """Derive a row id from an object name; long names and names with other characters end in a hash."""
    safe_stem = _INVALID_ID_CHARACTERS.sub("_", stem).lstrip("._-") or "object"
    if safe_stem == stem and len(safe_stem) <= _MAX_ID_LENGTH:
        return safe_stem
    return f"{safe_stem[: _MAX_ID_LENGTH - 9]}-{content_key(stem=stem)[:8]}"
