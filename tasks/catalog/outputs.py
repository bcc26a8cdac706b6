"""
Publication of a job's output files in the object store, and of notes beside them.

By default no object of another job or another program is replaced. In the system's own store every job has a
folder of its own. In a client's bucket, an existing name gets a suffix from the job's id, the same for all
files of the job. An object with the same cache key and the same bytes is shared, because neither jobs nor
retention delete finished results in clients' buckets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from prefect import task
from prefect.runtime import flow_run

from musetalk_core.model_registry.hash_cache import sha256_of
from tasks.cache.artefacts import artefact_cache
from tasks.cache.content_keys import content_key
from tasks.catalog.output_locations import OutputLocation, output_folder
from tasks.catalog.stored_results import CONTENT_KEY_FIELD, JOB_FIELD, OUTPUTS_PREFIX, SHA256_FIELD
from tasks.errors import OutputExists
from tasks.file_names import MAX_NAME_BYTES, fit_name, key_prefix_and_name_limit, with_suffix
from tasks.refs import Artefact, ObjectRef
from tasks.run.reports import phase
from tasks.run.task_policies import NOT_CACHED, RETRY_IO
from tasks.settings import get_settings
from tasks.storage.bucket_grants import open_bucket
from tasks.storage.home_store import home_store
from tasks.storage.media_types import media_type
from tasks.storage.object_store import ObjectInfo, ObjectStore

LINEAGE_SUFFIX: Final = ".lineage.json"
"""Suffix of the lineage note beside a file."""
_JSON: Final = "application/json"
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
    """

    key: str
    name: str
    location: OutputLocation
    job: UUID
    ref: ObjectRef
    sha256: str


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
def upload(made: Artefact, file: str, name: str, where: OutputLocation) -> PublishedFile:
    """
    Store one file of a cache entry under its public name, with a suffix if the name is taken.

    Args:
        made:  the cache entry.
        file:  name of the file in the entry.
        name:  the public name, with extension.
        where: bucket and prefix, or the system's own store; and whether to overwrite.

    Returns:
        The published file, whether this call stored it or it was stored before.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage.s3_store`.
    """
    with phase("upload"):
        return _publish_files([_to_local_file(made, file, name)], where)[0]


@task(**NOT_CACHED, **RETRY_IO)
def upload_set(made: Artefact, files: Mapping[str, str], where: OutputLocation) -> list[PublishedFile]:
    """
    Store several files of a cache entry that belong together; all get the same suffix.

    Args:
        made:  the cache entry.
        files: public name, with extension, by file name in the entry.
        where: the output location, as for `upload`.

    Returns:
        The published files in the order of `files`.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage.s3_store`.
    """
    with phase("upload"):
        return _publish_files([_to_local_file(made, file, name) for file, name in files.items()], where)


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
    objects, key_of, max_name_bytes = _resolve_location(output.location, output.job)
    may_replace = not output.location.bucket or output.location.overwrite
    metadata = {CONTENT_KEY_FIELD: output.key, JOB_FIELD: str(output.job)}
    for suffix in _candidate_suffixes(output.job):
        key = key_of(fit_name(output.name, f"{f'_{suffix}' if suffix else ''}{note_suffix}", max_name_bytes))
        existing = objects.find(key)
        if existing is not None and existing.metadata.get(CONTENT_KEY_FIELD) == output.key:
            return
        if existing is None or may_replace:
            try:
                objects.put_bytes(key, content.encode(), _JSON, metadata, overwrite=may_replace)
            except OutputExists:
                continue
            return


def _to_local_file(artefact: Artefact, file: str, name: str) -> _LocalFile:
    path = artefact_cache().path(artefact) / file
    return _LocalFile(path, name, artefact.key, sha256_of(path), path.stat().st_size)


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
        return [_to_published_file(one, file, location, job) for one, file in zip(stored, files, strict=True)]
    for suffix in _candidate_suffixes(job):
        keys = [key_of(name) for name in with_suffix(names, suffix, max_name_bytes)]
        stored = _store_all_or_none(objects, keys, files, job)
        if stored is not None:
            return [
                _to_published_file(one, file, location, job) for one, file in zip(stored, files, strict=True)
            ]
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
    """Return whether the note beside a file would belong to another file."""
    if not get_settings().store.lineage_files:
        return False
    folder, slash, name = key.rpartition("/")
    _, max_name_bytes = key_prefix_and_name_limit(folder)
    note = objects.find(f"{folder}{slash}{fit_name(name, LINEAGE_SUFFIX, max_name_bytes)}")
    return note is not None and note.metadata.get(CONTENT_KEY_FIELD) != file.key


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
    should_overwrite = overwrite or (existing is not None and file.replaces(existing, job))
    metadata = {CONTENT_KEY_FIELD: file.key, SHA256_FIELD: file.sha256, JOB_FIELD: str(job)}
    try:
        return objects.upload(file.path, key, media_type(key), metadata=metadata, overwrite=should_overwrite)
    except OutputExists:
        existing = objects.find(key)
        if existing is None or not file.has_same_content(existing):
            raise
        return existing  # a repeated request, or another job with the same file


def _to_published_file(
    stored: ObjectInfo, file: _LocalFile, location: OutputLocation, job: UUID
) -> PublishedFile:
    ref = ObjectRef(uri=stored.uri, version=stored.version, size=stored.size, sha256=file.sha256)
    return PublishedFile(file.key, stored.key.rpartition("/")[2], location, job, ref, file.sha256)
