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

from musetalk_core.weights.ledger import sha256_of
from tasks.artefacts import artefacts
from tasks.bucket_grants import bucket
from tasks.errors import OutputExists
from tasks.file_names import MAX_NAME_BYTES, fit_name, key_prefix_and_room, with_suffix
from tasks.keys import content_key
from tasks.media_types import media_type
from tasks.objects import ObjectInfo, Objects
from tasks.output_locations import OutputLocation, output_folder
from tasks.policies import ALWAYS, RETRY_IO
from tasks.refs import Artefact, ObjectRef
from tasks.reports import phase
from tasks.settings import get_settings
from tasks.storage import home_store
from tasks.stored_results import MADE_BY, MADE_OF, OUTPUTS, SHA256

LINEAGE_ENDING: Final = ".lineage.json"
"""Suffix of the lineage note beside a file."""
_JSON: Final = "application/json"
_SUFFIX_DIGITS: Final = (0, 8, 16, 32)
"""Digits of the job's id to try as a suffix, in this order."""


@dataclass(frozen=True, slots=True)
class Published:
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
    where: OutputLocation
    job: UUID
    ref: ObjectRef
    sha256: str


@dataclass(frozen=True, slots=True)
class _File:
    """A local file to publish."""

    path: Path
    name: str
    key: str
    sha256: str
    size: int
    is_private: bool = False
    """Whether the key belongs to one job alone, so that a restarted job replaces its earlier file."""

    def is_in(self, found: ObjectInfo) -> bool:
        """Tell whether an object has the content of this file, whichever job stored it."""
        about = found.metadata
        return (about.get(MADE_OF), about.get(SHA256), found.size) == (self.key, self.sha256, self.size)

    def is_older(self, found: ObjectInfo, job: UUID) -> bool:
        """Tell whether an object was stored by an earlier attempt of the same job."""
        return self.is_private and (found.metadata.get(MADE_OF), _job_of(found)) == (self.key, job.hex)


@task(**ALWAYS, **RETRY_IO)
def upload(made: Artefact, file: str, name: str, where: OutputLocation) -> Published:
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
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage`.
    """
    with phase("upload"):
        return _publish([_file_of(made, file, name)], where)[0]


@task(**ALWAYS, **RETRY_IO)
def upload_set(made: Artefact, files: Mapping[str, str], where: OutputLocation) -> list[Published]:
    """
    Store several files of a cache entry that belong together; all get the same suffix.

    Args:
        made:  the cache entry.
        files: public name, with extension, by file name in the entry.
        where: the output location, as for `upload`.

    Returns:
        The published files in the order of `files`.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage`.
    """
    with phase("upload"):
        return _publish([_file_of(made, file, name) for file, name in files.items()], where)


def store_table(path: Path, name: str, where: OutputLocation) -> Published:
    """
    Store a file about the job itself, such as a result table, which is not in the cache.

    Args:
        path:     the local file.
        name:     its public name, with extension.
        location: the output location, as for `upload`.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage`.
    """
    key = content_key(table=str(current_job()), name=name)
    file = _File(path, name, key, sha256_of(path), path.stat().st_size, is_private=True)
    return _publish([file], where)[0]


def write_beside(output: Published, ending: str, content: str) -> None:
    """
    Store a JSON note beside a published file, unless there is one for the same content.

    Args:
        output:      the published file.
        note_suffix: suffix that the note's name adds to the name of the file.
        content:     the note as JSON text.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage`.
    """
    objects, key_of, room = _place(output.where, output.job)
    may_replace = not output.where.bucket or output.where.overwrite
    about = {MADE_OF: output.key, MADE_BY: str(output.job)}
    for mark in _suffixes(output.job):
        key = key_of(fit_name(output.name, f"{f'_{mark}' if mark else ''}{ending}", room))
        known = objects.find(key)
        if known is not None and known.metadata.get(MADE_OF) == output.key:
            return
        if known is None or may_replace:
            try:
                objects.put_bytes(key, content.encode(), _JSON, about, overwrite=may_replace)
            except OutputExists:
                continue
            return


def _file_of(made: Artefact, file: str, name: str) -> _File:
    path = artefacts().path(made) / file
    return _File(path, name, made.key, sha256_of(path), path.stat().st_size)


def current_job() -> UUID:
    """Return the id of the current run; a new id outside of a run."""
    return UUID(str(flow_run.id)) if flow_run.id else uuid4()


def _job_of(found: ObjectInfo) -> str | None:
    told = found.metadata.get(MADE_BY)
    return told.replace("-", "") if told else None


def _suffixes(job: UUID) -> list[str]:
    return [job.hex[:digits] for digits in _SUFFIX_DIGITS]


def _place(where: OutputLocation, job: UUID) -> tuple[Objects, Callable[[str], str], int]:
    """Return the store, a function from name to key, and the limit of a name in bytes."""
    if not where.bucket:
        return home_store(), lambda name: f"{OUTPUTS}{job.hex}/{name}", MAX_NAME_BYTES
    folder, room = output_folder(where.prefix)
    return bucket(where.bucket, "write"), lambda name: f"{folder}{name}", room


def _publish(files: Sequence[_File], where: OutputLocation) -> list[Published]:
    job = current_job()
    objects, key_of, room = _place(where, job)
    names = [file.name for file in files]
    if not where.bucket or where.overwrite:
        keys = [key_of(name) for name in with_suffix(names, "", room)]
        stored = [
            _put(objects, key, file, job, overwrite=True) for key, file in zip(keys, files, strict=True)
        ]
        return [_published(one, file, where, job) for one, file in zip(stored, files, strict=True)]
    for mark in _suffixes(job):
        keys = [key_of(name) for name in with_suffix(names, mark, room)]
        stored = _store_all_or_none(objects, keys, files, job)
        if stored is not None:
            return [_published(one, file, where, job) for one, file in zip(stored, files, strict=True)]
    raise OutputExists(f"{objects.uri(key_of(names[0]))} and all names with a suffix of job {job} are taken.")


def _store_all_or_none(
    objects: Objects, keys: Sequence[str], files: Sequence[_File], job: UUID
) -> list[ObjectInfo] | None:
    """Store all files under these keys, or none of them: None if one key is taken."""
    known = [objects.find(key) for key in keys]
    fits = all(
        found is None or file.is_in(found) or file.is_older(found, job)
        for found, file in zip(known, files, strict=True)
    )
    if fits and not any(_has_foreign_note(objects, key, file) for key, file in zip(keys, files, strict=True)):
        try:
            return [_put(objects, key, file, job) for key, file in zip(keys, files, strict=True)]
        except OutputExists:  # another job wrote the same key first
            pass
    _remove_own(objects, keys, files, job)
    return None


def _has_foreign_note(objects: Objects, key: str, file: _File) -> bool:
    """Tell whether the note beside a file would belong to another file."""
    if not get_settings().store.lineage_files:
        return False
    folder, slash, name = key.rpartition("/")
    _, room = key_prefix_and_room(folder)
    found = objects.find(f"{folder}{slash}{fit_name(name, LINEAGE_ENDING, room)}")
    return found is not None and found.metadata.get(MADE_OF) != file.key


def _remove_own(objects: Objects, keys: Sequence[str], files: Sequence[_File], job: UUID) -> None:
    """Remove what this job stored of an incomplete set, in this attempt or an earlier one."""
    for key, file in zip(keys, files, strict=True):
        found = objects.find(key)
        if found is not None and _job_of(found) == job.hex and found.metadata.get(MADE_OF) == file.key:
            objects.delete(key)


def _put(objects: Objects, key: str, file: _File, job: UUID, *, overwrite: bool = False) -> ObjectInfo:
    """Store a file unless the object is this file already; raises OutputExists if the name is taken."""
    found = objects.find(key)
    if found is not None and file.is_in(found):
        return found
    replaces = overwrite or (found is not None and file.is_older(found, job))
    about = {MADE_OF: file.key, SHA256: file.sha256, MADE_BY: str(job)}
    try:
        return objects.upload(file.path, key, media_type(key), metadata=about, overwrite=replaces)
    except OutputExists:
        found = objects.find(key)
        if found is None or not file.is_in(found):
            raise
        return found  # a repeated request, or another job with the same file


def _published(stored: ObjectInfo, file: _File, where: OutputLocation, job: UUID) -> Published:
    ref = ObjectRef(uri=stored.uri, version=stored.version, size=stored.size, sha256=file.sha256)
    return Published(file.key, stored.key.rpartition("/")[2], where, job, ref, file.sha256)
