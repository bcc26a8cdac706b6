"""
Put the finished files of a job where the job wants them, and notes beside them.

By default nothing that another job or anybody else stored is replaced. In the system's own store every job
has a folder of its own. In a bucket, a name that is taken gets a suffix of the job's id, the same for all
files of the job; an object that holds the same artefact and the same bytes is shared, since no job and no
retention ever deletes a finished result in a client's bucket.
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
from tasks.file_names import MAX_NAME_BYTES, fitted, folder_and_room, marked
from tasks.keys import content_key
from tasks.media_types import media_type
from tasks.objects import ObjectInfo, Objects
from tasks.places import Where, output_folder
from tasks.policies import ALWAYS, RETRY_IO
from tasks.refs import Artefact, ObjectRef
from tasks.reports import phase
from tasks.settings import get_settings
from tasks.storage import home_store
from tasks.stored_results import MADE_BY, MADE_OF, OUTPUTS, SHA256

LINEAGE_ENDING: Final = ".lineage.json"
"""What the name of the note beside a file adds to the file's name."""
_JSON: Final = "application/json"
_MARKS: Final = (0, 8, 16, 32)
"""How many digits of the job's id are tried as a suffix, in this order."""


@dataclass(frozen=True, slots=True)
class Published:
    """
    A finished file in its place.

    Attributes:
        key:    of the artefact that it is of, or of what else it is.
        name:   its public name, with the suffix that it got.
        where:  where the job wanted it.
        job:    the job that it is an output of.
        ref:    where it is.
        sha256: of its bytes.
    """

    key: str
    name: str
    where: Where
    job: UUID
    ref: ObjectRef
    sha256: str


@dataclass(frozen=True, slots=True)
class _File:
    """A file that is to be stored."""

    path: Path
    name: str
    key: str
    sha256: str
    size: int
    is_private: bool = False
    """Its key belongs to one job alone: a restarted job replaces what it stored before."""

    def is_in(self, found: ObjectInfo) -> bool:
        """Tell whether an object is this file already, whichever job stored it."""
        about = found.metadata
        return (about.get(MADE_OF), about.get(SHA256), found.size) == (self.key, self.sha256, self.size)

    def is_older(self, found: ObjectInfo, job: UUID) -> bool:
        """Tell whether an object is what this very job stored under the key before it was restarted."""
        return self.is_private and (found.metadata.get(MADE_OF), _job_of(found)) == (self.key, job.hex)


@task(**ALWAYS, **RETRY_IO)
def upload(made: Artefact, file: str, name: str, where: Where) -> Published:
    """
    Store one file of an artefact under its public name, or that name with a suffix when it is taken.

    Args:
        made:  the artefact.
        file:  which of its files.
        name:  the public name, with extension.
        where: bucket and prefix, or the system's own store; and whether to overwrite.

    Returns:
        What was stored, or found to be there already.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage`.
    """
    with phase("upload"):
        return _publish([_of(made, file, name)], where)[0]


@task(**ALWAYS, **RETRY_IO)
def upload_set(made: Artefact, files: Mapping[str, str], where: Where) -> list[Published]:
    """
    Store several files of an artefact whose names belong together: a suffix is the same for all.

    Args:
        made:  the artefact.
        files: public name, with extension, by file of the artefact.
        where: as of `upload`.

    Returns:
        In the order of `files`.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage`.
    """
    with phase("upload"):
        return _publish([_of(made, file, name) for file, name in files.items()], where)


def store_table(path: Path, name: str, where: Where) -> Published:
    """
    Store a file that is no artefact: one that tells of the job itself.

    Args:
        path:  the file.
        name:  its public name, with extension.
        where: as of `upload`.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage`.
    """
    key = content_key(table=str(_job()), name=name)
    file = _File(path, name, key, sha256_of(path), path.stat().st_size, is_private=True)
    return _publish([file], where)[0]


def write_beside(output: Published, ending: str, content: str) -> None:
    """
    Store a note on a finished file beside it; one that is there and is on the same content is left alone.

    Args:
        output:  the finished file.
        ending:  what the note's name adds to that of the file.
        content: JSON.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage`.
    """
    objects, key_of, room = _place(output.where, output.job)
    may_replace = not output.where.bucket or output.where.overwrite
    about = {MADE_OF: output.key, MADE_BY: str(output.job)}
    for mark in _marks(output.job):
        key = key_of(fitted(output.name, f"{f'_{mark}' if mark else ''}{ending}", room))
        known = objects.find(key)
        if known is not None and known.metadata.get(MADE_OF) == output.key:
            return
        if known is None or may_replace:
            try:
                objects.put_bytes(key, content.encode(), _JSON, about, overwrite=may_replace)
            except OutputExists:
                continue
            return


def _of(made: Artefact, file: str, name: str) -> _File:
    path = artefacts().path(made) / file
    return _File(path, name, made.key, sha256_of(path), path.stat().st_size)


def _job() -> UUID:
    """Return the run that this code works for; outside any run an id of its own."""
    return UUID(str(flow_run.id)) if flow_run.id else uuid4()


def _job_of(found: ObjectInfo) -> str | None:
    told = found.metadata.get(MADE_BY)
    return told.replace("-", "") if told else None


def _marks(job: UUID) -> list[str]:
    return [job.hex[:digits] for digits in _MARKS]


def _place(where: Where, job: UUID) -> tuple[Objects, Callable[[str], str], int]:
    """Return the store, what makes a key of a name there, and the bytes that a name may take."""
    if not where.bucket:
        return home_store(), lambda name: f"{OUTPUTS}{job.hex}/{name}", MAX_NAME_BYTES
    folder, room = output_folder(where.prefix)
    return bucket(where.bucket, "write"), lambda name: f"{folder}{name}", room


def _publish(files: Sequence[_File], where: Where) -> list[Published]:
    job = _job()
    objects, key_of, room = _place(where, job)
    names = [file.name for file in files]
    if not where.bucket or where.overwrite:
        keys = [key_of(name) for name in marked(names, "", room)]
        stored = [
            _put(objects, key, file, job, overwrite=True) for key, file in zip(keys, files, strict=True)
        ]
        return [_published(one, file, where, job) for one, file in zip(stored, files, strict=True)]
    for mark in _marks(job):
        keys = [key_of(name) for name in marked(names, mark, room)]
        stored = _claim(objects, keys, files, job)
        if stored is not None:
            return [_published(one, file, where, job) for one, file in zip(stored, files, strict=True)]
    raise OutputExists(f"{objects.uri(key_of(names[0]))} and all names with a suffix of job {job} are taken.")


def _claim(
    objects: Objects, keys: Sequence[str], files: Sequence[_File], job: UUID
) -> list[ObjectInfo] | None:
    """Store all files under these keys, or none of them: None when one key belongs to somebody else."""
    known = [objects.find(key) for key in keys]
    fits = all(
        found is None or file.is_in(found) or file.is_older(found, job)
        for found, file in zip(known, files, strict=True)
    )
    if fits and not any(_has_foreign_note(objects, key, file) for key, file in zip(keys, files, strict=True)):
        try:
            return [_put(objects, key, file, job) for key, file in zip(keys, files, strict=True)]
        except OutputExists:  # another job was quicker
            pass
    _take_back(objects, keys, files, job)
    return None


def _has_foreign_note(objects: Objects, key: str, file: _File) -> bool:
    """Tell whether the place of the note beside a file is taken: then the names would not belong together."""
    if not get_settings().store.lineage_files:
        return False
    folder, slash, name = key.rpartition("/")
    _, room = folder_and_room(folder)
    found = objects.find(f"{folder}{slash}{fitted(name, LINEAGE_ENDING, room)}")
    return found is not None and found.metadata.get(MADE_OF) != file.key


def _take_back(objects: Objects, keys: Sequence[str], files: Sequence[_File], job: UUID) -> None:
    """Remove what this job stored of a set that could not be stored whole, now or before a restart."""
    for key, file in zip(keys, files, strict=True):
        found = objects.find(key)
        if found is not None and _job_of(found) == job.hex and found.metadata.get(MADE_OF) == file.key:
            objects.delete(key)


def _put(objects: Objects, key: str, file: _File, job: UUID, *, overwrite: bool = False) -> ObjectInfo:
    """Store a file, unless the object is this file already; raises OutputExists for somebody else's."""
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
        return found  # an earlier try of this write, or another job with the same file


def _published(stored: ObjectInfo, file: _File, where: Where, job: UUID) -> Published:
    ref = ObjectRef(uri=stored.uri, version=stored.version, size=stored.size, sha256=file.sha256)
    return Published(file.key, stored.key.rpartition("/")[2], where, job, ref, file.sha256)
