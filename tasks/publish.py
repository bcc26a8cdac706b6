"""Put a finished file where the job wants it, and notes beside it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from prefect import task

from musetalk_core.weights.ledger import sha256_of
from tasks.artefacts import artefacts
from tasks.media_types import media_type
from tasks.objects import ObjectInfo, Objects
from tasks.policies import ALWAYS, RETRY_IO
from tasks.refs import Artefact, ObjectRef
from tasks.reports import phase
from tasks.settings import get_settings
from tasks.storage import bucket, home_store, locate

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
    objects.put_bytes(key, content.encode(), _JSON, {_MADE_OF: output.made.key})


def store_table(
    table: Path | bytes, name: str, to_bucket: str | None, prefix: str, own_folder: str
) -> ObjectRef:
    """
    Store a file that is no artefact: one that tells of a job, and changes with every one.

    Args:
        table:      the file, or its bytes where they are few.
        name:       its public name, with extension.
        to_bucket:  S3 bucket, or None for the system's own store.
        prefix:     folder inside the bucket.
        own_folder: folder below `outputs` in the system's own store.

    Raises:
        BucketNotAllowed, UploadFailed, StorageError: see `tasks.storage`.
    """
    if to_bucket:
        objects, key = bucket(to_bucket, "write"), _key(prefix, name)
    else:
        objects, key = home_store(), f"{OUTPUTS}{own_folder}/{name}"
    if isinstance(table, bytes):
        stored = objects.put_bytes(key, table, media_type(name))
    else:
        stored = objects.upload(table, key, media_type(name))
    return ObjectRef(uri=stored.uri, version=stored.version, size=stored.size)


def _is_aged(known: ObjectInfo, to_bucket: str | None) -> bool:
    expires = not to_bucket and get_settings().retention.results_days > 0
    return expires and datetime.now(UTC) - known.modified > RENEWED_AFTER


def check_place(name: str, to_bucket: str | None, prefix: str) -> None:
    """
    Refuse a place that `upload` would refuse: before hours of work are done for it. Nothing is sent.

    Args:
        name:      the public name, with extension.
        to_bucket: S3 bucket, or None for the system's own store.
        prefix:    folder inside the bucket.

    Raises:
        BucketNotAllowed: jobs may not write there.
    """
    if to_bucket:
        locate(f"s3://{to_bucket}/{_key(prefix, name)}", "write")


def _place(made: Artefact, name: str, to_bucket: str | None, prefix: str) -> tuple[Objects, str]:
    if to_bucket:
        return bucket(to_bucket, "write"), _key(prefix, name)
    return home_store(), f"{OUTPUTS}{made.key[:32]}/{name}"


def _key(prefix: str, name: str) -> str:
    return "/".join(part for part in (prefix.strip("/"), name) if part)
