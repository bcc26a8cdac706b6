"""Put a finished file where the job wants it, and notes beside it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from prefect import task

from musetalk_core.weights.ledger import sha256_of
from tasks.artefacts import artefacts
from tasks.media_types import media_type
from tasks.objects import ObjectInfo, Objects
from tasks.places import check_place, output_key
from tasks.policies import ALWAYS, RETRY_IO
from tasks.refs import Artefact, ObjectRef
from tasks.reports import phase
from tasks.settings import get_settings
from tasks.storage import bucket, home_store

__all__ = ["OUTPUTS", "RENEWED_AFTER", "Published", "check_place", "store_table", "upload", "write_beside"]

OUTPUTS: Final = "outputs/"
"""Where results lie in our own store."""
RENEWED_AFTER: Final = timedelta(days=1)
"""A result in our own store that is found again is stored anew after that: its time is kept from now on."""
_MADE_OF, _SHA256 = "musetalk-key", "musetalk-sha256"
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Published:
    """
    A finished file in its place.

    Attributes:
        made:      the artefact that it is of.
        name:      its public name.
        to_bucket: S3 bucket, or None for the system's own store.
        prefix:    folder inside the bucket.
        ref:       where it is.
        sha256:    of its bytes.
    """

    made: Artefact
    name: str
    to_bucket: str | None
    prefix: str
    ref: ObjectRef
    sha256: str


@task(**ALWAYS, **RETRY_IO)
def upload(made: Artefact, file: str, name: str, to_bucket: str | None, prefix: str) -> Published:
    """
    Store one file of an artefact under its public name; a fresh copy that is already there is left alone.

    Args:
        made:      the artefact.
        file:      which of its files.
        name:      the public name, with extension.
        to_bucket: S3 bucket, or None for the system's own store.
        prefix:    folder inside the bucket.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage`.
    """
    with phase("upload"):
        objects, key = _place(made, name, to_bucket, prefix)
        known = objects.find(key)
        if known and known.metadata.get(_MADE_OF) == made.key and not _is_aged(known, to_bucket):
            sha256 = known.metadata.get(_SHA256) or sha256_of(artefacts().path(made) / file)
        else:
            path = artefacts().path(made) / file
            sha256 = sha256_of(path)
            about = {_MADE_OF: made.key, _SHA256: sha256}
            known = objects.upload(path, key, media_type(name), metadata=about)
        ref = ObjectRef(uri=known.uri, version=known.version, size=known.size)
        return Published(made, name, to_bucket, prefix, ref, sha256)


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
    objects, key = _place(output.made, f"{output.name}{ending}", output.to_bucket, output.prefix)
    known = objects.find(key)
    if known is not None and known.metadata.get(_MADE_OF) == output.made.key:
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "note.json"
        path.write_text(content, encoding="utf-8")
        objects.upload(path, key, _JSON, metadata={_MADE_OF: output.made.key})


def store_table(path: Path, name: str, to_bucket: str | None, prefix: str, own_folder: str) -> ObjectRef:
    """
    Store a file that is no artefact: one that tells of a job, and changes with every one.

    Args:
        path:       the file.
        name:       its public name, with extension.
        to_bucket:  S3 bucket, or None for the system's own store.
        prefix:     folder inside the bucket.
        own_folder: folder below `outputs` in the system's own store.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage`.
    """
    if to_bucket:
        objects, key = bucket(to_bucket, "write"), output_key(prefix, name)
    else:
        objects, key = home_store(), f"{OUTPUTS}{own_folder}/{name}"
    stored = objects.upload(path, key, media_type(name))
    return ObjectRef(uri=stored.uri, version=stored.version, size=stored.size)


def _is_aged(known: ObjectInfo, to_bucket: str | None) -> bool:
    expires = not to_bucket and get_settings().retention.results_days > 0
    return expires and datetime.now(UTC) - known.modified > RENEWED_AFTER


def _place(made: Artefact, name: str, to_bucket: str | None, prefix: str) -> tuple[Objects, str]:
    if to_bucket:
        return bucket(to_bucket, "write"), output_key(prefix, name)
    return home_store(), f"{OUTPUTS}{made.key[:32]}/{name}"
