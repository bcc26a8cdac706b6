"""
Publication of a job's output files in the object store, and of notes beside them.

By default no object of another job or another program is replaced. In the system's own store every job has a
folder of its own. In a client's bucket, an existing name gets a suffix from the job's id, the same for all
files of the job. An object with the same cache key and the same bytes is shared, because neither jobs nor
retention delete finished results in clients' buckets.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from prefect import task
from prefect.runtime import flow_run

from musetalk_core.content_credentials.signing import SIDECAR_SUFFIX
from musetalk_core.model_registry.hash_cache import sha256_of
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.catalog.output_locations import OutputLocation, output_folder
from tasks.catalog.stored_results import CONTENT_KEY_FIELD, JOB_FIELD, OUTPUTS_PREFIX, SHA256_FIELD
from tasks.errors import OutputExists, StorageError
from tasks.file_names import MAX_NAME_BYTES, fit_name, key_prefix_and_name_limit, with_suffix
from tasks.refs import Artefact, ObjectRef
from tasks.run.reports import phase
from tasks.run.task_policies import NOT_CACHED, RETRY_IO, traced
from tasks.settings import get_settings
from tasks.storage.bucket_grants import open_bucket
from tasks.storage.home_store import home_store
from tasks.storage.media_types import media_type
from tasks.storage.object_store import ObjectInfo, ObjectStore

LINEAGE_SUFFIX: Final = ".lineage.json"
"""Suffix of the lineage note beside a file."""
_log = logging.getLogger(__name__)
_JSON: Final = "application/json"
_SIDECAR_TYPE: Final = "application/c2pa"
_SUFFIX_DIGITS: Final = (0, 8, 16, 32)
"""Digits of the job's id to try as a suffix, in this order."""


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """
    A published file.

    Attributes:
        key:      identity of the content: the key of its cache entry, or a key of the job alone.
        name:     public name, including the suffix.
        location: requested output location.
        job:      id of the job that published the file.
        ref:      reference to the stored object.
        sha256:   SHA-256 of its bytes.
        sidecar:  name and reference of the C2PA manifest beside it; None if there is none.
        unsigned_sha256: SHA-256 of the file before a manifest was embedded; None if none was.
    """

    key: str
    name: str
    location: OutputLocation
    job: UUID
    ref: ObjectRef
    sha256: str
    sidecar: tuple[str, ObjectRef] | None = None
    unsigned_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class _LocalFile:
    """A local file to publish."""

    path: Path
    name: str
    key: str
    sha256: str
    size: int
    is_private: bool = False
    """Whether the key belongs to one job alone, so that a restarted job replaces its earlier file."""
    sidecar: Path | None = None
    """C2PA manifest to store beside the file."""

    def note_suffixes(self) -> Iterator[str]:
        """Yield the suffixes of the notes that are stored beside this file."""
        if get_settings().store.lineage_files:
            yield LINEAGE_SUFFIX
        if self.sidecar is not None:
            yield SIDECAR_SUFFIX

    def has_same_content(self, stored: ObjectInfo) -> bool:
        """Return whether an object has the content of this file, whichever job stored it."""
        metadata = stored.metadata
        return (metadata.get(CONTENT_KEY_FIELD), metadata.get(SHA256_FIELD), stored.size) == (
            self.key,
            self.sha256,
            self.size,
        )

    def replaces(self, stored: ObjectInfo, job: UUID) -> bool:
        """Return whether an object was stored by an earlier attempt of the same job."""
        return self.is_private and (stored.metadata.get(CONTENT_KEY_FIELD), _publishing_job(stored)) == (
            self.key,
            job.hex,
        )


@task(**NOT_CACHED, **RETRY_IO)
@traced
def upload(
    made: Artefact, file: str, name: str, where: OutputLocation, sidecars: Artefact | None = None
) -> PublishedFile:
    """
    Store one file of a cache entry under its public name, with a suffix if the name is taken.

    Args:
        made:     the cache entry.
        file:     name of the file in the entry.
        name:     the public name, with extension.
        where:    bucket and prefix, or the system's own store; and whether to overwrite.
        sidecars: cache entry with the manifest `FILE.c2pa` to store beside it; None for none.

    Returns:
        The published file, whether this call stored it or it was stored before.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage.s3_store`.
    """
    with phase("upload"):
        return _publish_files([_to_local_file(made, file, name, sidecars)], where)[0]


@task(**NOT_CACHED, **RETRY_IO)
@traced
def upload_set(
    made: Artefact, files: Mapping[str, str], where: OutputLocation, sidecars: Artefact | None = None
) -> list[PublishedFile]:
    """
    Store several files of a cache entry that belong together; all get the same suffix.

    Args:
        made:     the cache entry.
        files:    public name, with extension, by file name in the entry.
        where:    the output location, as for `upload`.
        sidecars: cache entry with a manifest `FILE.c2pa` for each file that is not empty; None for none.

    Returns:
        The published files in the order of `files`.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage.s3_store`.
    """
    with phase("upload"):
        local = [_to_local_file(made, file, name, sidecars) for file, name in files.items()]
        return _publish_files(local, where)


def publish_table(path: Path, name: str, location: OutputLocation) -> PublishedFile:
    """
    Store a file about the job itself, such as a result table, which is not in the cache.

    Args:
        path:     the local file.
        name:     its public name, with extension.
        location: the output location, as for `upload`.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage.s3_store`.
    """
    key = content_key(table=str(current_job()), name=name)
    file = _LocalFile(path, name, key, sha256_of(path), path.stat().st_size, is_private=True)
    return _publish_files([file], location)[0]


def publish_note(output: PublishedFile, note_suffix: str, content: str) -> None:
    """
    Store a JSON note beside a published file, unless there is one for the same content.

    Args:
        output:      the published file.
        note_suffix: suffix that the note's name adds to the name of the file.
        content:     the note as JSON text.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage.s3_store`.
    """
    identity = {CONTENT_KEY_FIELD: output.key}
    _store_beside(output, note_suffix, content.encode(), _JSON, identity)


def _with_sidecar(output: PublishedFile, sidecar: Path) -> PublishedFile:
    """Store the C2PA manifest of a published file, unless there is one for the same bytes."""
    identity = {CONTENT_KEY_FIELD: output.key, SHA256_FIELD: output.sha256}
    stored = _store_beside(output, SIDECAR_SUFFIX, sidecar.read_bytes(), _SIDECAR_TYPE, identity)
    if stored is None:
        raise OutputExists(f"All names for the C2PA manifest of {output.name} are taken.")
    ref = ObjectRef(uri=stored.uri, version=stored.version, size=stored.size)
    return replace(output, sidecar=(stored.key.rpartition("/")[2], ref))


def _store_beside(
    output: PublishedFile, suffix: str, content: bytes, content_type: str, identity: Mapping[str, str]
) -> ObjectInfo | None:
    """Store a note beside a file; return a note with the same identity unchanged. None: no name is free."""
    objects, key_of, max_name_bytes = _resolve_location(output.location, output.job)
    may_replace = not output.location.bucket or output.location.overwrite
    metadata = {**identity, JOB_FIELD: str(output.job)}
    for job_suffix in _candidate_suffixes(output.job):
        tail = f"{f'_{job_suffix}' if job_suffix else ''}{suffix}"
        key = key_of(fit_name(output.name, tail, max_name_bytes))
        existing = objects.find(key)
        if existing is not None and identity.items() <= existing.metadata.items():
            return existing
        if existing is None or may_replace:
            try:
                return objects.put_bytes(key, content, content_type, metadata, overwrite=may_replace)
            except OutputExists:
                continue
    return None


def _to_local_file(artefact: Artefact, file: str, name: str, sidecars: Artefact | None) -> _LocalFile:
    path = artefact_cache().path(artefact) / file
    manifest = f"{file}{SIDECAR_SUFFIX}"
    sidecar = artefact_cache().file(sidecars, manifest) if sidecars and manifest in sidecars.files else None
    return _LocalFile(path, name, artefact.key, sha256_of(path), path.stat().st_size, sidecar=sidecar)


def current_job() -> UUID:
    """Return the id of the current run; a new id outside of a run."""
    return UUID(str(flow_run.id)) if flow_run.id else uuid4()


def _publishing_job(stored: ObjectInfo) -> str | None:
    job_id = stored.metadata.get(JOB_FIELD)
    return job_id.replace("-", "") if job_id else None


def _candidate_suffixes(job: UUID) -> list[str]:
    return [job.hex[:digits] for digits in _SUFFIX_DIGITS]


def _resolve_location(location: OutputLocation, job: UUID) -> tuple[ObjectStore, Callable[[str], str], int]:
    """Return the store, a function from name to key, and the limit of a name in bytes."""
    if not location.bucket:
        return home_store(), lambda name: f"{OUTPUTS_PREFIX}{job.hex}/{name}", MAX_NAME_BYTES
    folder, max_name_bytes = output_folder(location.prefix)
    return open_bucket(location.bucket, "write"), lambda name: f"{folder}{name}", max_name_bytes


def _publish_files(files: Sequence[_LocalFile], location: OutputLocation) -> list[PublishedFile]:
    job = current_job()
    objects, key_of, max_name_bytes = _resolve_location(location, job)
    names = [file.name for file in files]
    if not location.bucket or location.overwrite:
        keys = [key_of(name) for name in with_suffix(names, "", max_name_bytes)]
        stored = [
            _store_file(objects, key, file, job, overwrite=True)
            for key, file in zip(keys, files, strict=True)
        ]
        return _to_published_files(stored, files, location, job)
    for suffix in _candidate_suffixes(job):
        keys = [key_of(name) for name in with_suffix(names, suffix, max_name_bytes)]
        stored = _store_all_or_none(objects, keys, files, job)
        if stored is not None:
            return _to_published_files(stored, files, location, job)
    raise OutputExists(f"{objects.uri(key_of(names[0]))} and all names with a suffix of job {job} are taken.")


def _store_all_or_none(
    objects: ObjectStore, keys: Sequence[str], files: Sequence[_LocalFile], job: UUID
) -> list[ObjectInfo] | None:
    """Store all files under these keys, or none of them: None if one key is taken."""
    existing = [objects.find(key) for key in keys]
    can_store_all = all(
        found is None or file.has_same_content(found) or file.replaces(found, job)
        for found, file in zip(existing, files, strict=True)
    )
    if can_store_all and not any(
        _has_foreign_note(objects, key, file) for key, file in zip(keys, files, strict=True)
    ):
        try:
            return [_store_file(objects, key, file, job) for key, file in zip(keys, files, strict=True)]
        except OutputExists:  # another job wrote the same key first
            pass
    _remove_own_files(objects, keys, files, job)
    return None


def _has_foreign_note(objects: ObjectStore, key: str, file: _LocalFile) -> bool:
    """Return whether a note beside a file would belong to another file."""
    folder, slash, name = key.rpartition("/")
    _, max_name_bytes = key_prefix_and_name_limit(folder)
    for suffix in file.note_suffixes():
        note = objects.find(f"{folder}{slash}{fit_name(name, suffix, max_name_bytes)}")
        if note is not None and note.metadata.get(CONTENT_KEY_FIELD) != file.key:
            return True
    return False


def _remove_own_files(
    objects: ObjectStore, keys: Sequence[str], files: Sequence[_LocalFile], job: UUID
) -> None:
    """Remove what this job stored of an incomplete set, in this attempt or an earlier one."""
    for key, file in zip(keys, files, strict=True):
        existing = objects.find(key)
        if (
            existing is not None
            and _publishing_job(existing) == job.hex
            and existing.metadata.get(CONTENT_KEY_FIELD) == file.key
        ):
            objects.delete(key)


def _store_file(
    objects: ObjectStore, key: str, file: _LocalFile, job: UUID, *, overwrite: bool = False
) -> ObjectInfo:
    """Store a file unless the object is this file already; raises OutputExists if the name is taken."""
    existing = objects.find(key)
    if existing is not None and file.has_same_content(existing):
        return existing
    if existing is not None and overwrite:
        _remove_former_notes(objects, key, file)
    should_overwrite = overwrite or (existing is not None and file.replaces(existing, job))
    metadata = {CONTENT_KEY_FIELD: file.key, SHA256_FIELD: file.sha256, JOB_FIELD: str(job)}
    try:
        return objects.upload(file.path, key, media_type(key), metadata=metadata, overwrite=should_overwrite)
    except OutputExists:
        existing = objects.find(key)
        if existing is None or not file.has_same_content(existing):
            raise
        return existing  # a repeated request, or another job with the same file


def _remove_former_notes(objects: ObjectStore, key: str, file: _LocalFile) -> None:
    """Remove the notes of a file that is replaced, where the new file has none: they describe other bytes."""
    folder, slash, name = key.rpartition("/")
    _, max_name_bytes = key_prefix_and_name_limit(folder)
    for suffix in {LINEAGE_SUFFIX, SIDECAR_SUFFIX} - set(file.note_suffixes()):
        note_key = f"{folder}{slash}{fit_name(name, suffix, max_name_bytes)}"
        note = objects.find(note_key)
        if note is None or note.metadata.get(CONTENT_KEY_FIELD) in (None, file.key):
            continue
        try:
            objects.delete(note_key)
        except StorageError as error:  # a bucket may allow to write and not to delete
            _log.warning("the note %s of the replaced file cannot be deleted: %s", note_key, error)


def _to_published_files(
    stored: Sequence[ObjectInfo], files: Sequence[_LocalFile], location: OutputLocation, job: UUID
) -> list[PublishedFile]:
    """Describe the stored files, and store the C2PA manifests beside them."""
    published: list[PublishedFile] = []
    for info, file in zip(stored, files, strict=True):
        ref = ObjectRef(uri=info.uri, version=info.version, size=info.size, sha256=file.sha256)
        output = PublishedFile(file.key, info.key.rpartition("/")[2], location, job, ref, file.sha256)
        published.append(_with_sidecar(output, file.sidecar) if file.sidecar else output)
    return published
