"""Put a finished file where the job wants it."""

from datetime import UTC, datetime, timedelta
from typing import Final

from prefect import task

from tasks.artefacts import artefacts
from tasks.media_types import media_type
from tasks.objects import ObjectInfo
from tasks.policies import ALWAYS, RETRY_IO
from tasks.refs import Artefact, ObjectRef
from tasks.reports import phase
from tasks.settings import get_settings
from tasks.storage import bucket, home_store, locate

OUTPUTS: Final = "outputs/"
"""Where results lie in our own store."""
RENEWED_AFTER: Final = timedelta(days=1)
"""A result in our own store that is found again is stored anew after that: its time is kept from now on."""


@task(**ALWAYS, **RETRY_IO)
def upload(made: Artefact, file: str, name: str, to_bucket: str | None, prefix: str) -> ObjectRef:
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
        if to_bucket:
            objects, key = bucket(to_bucket, "write"), _key(prefix, name)
        else:
            objects, key = home_store(), f"{OUTPUTS}{made.key[:32]}/{name}"
        known = objects.find(key)
        if known is None or known.metadata.get("musetalk-key") != made.key or _is_aged(known, to_bucket):
            path = artefacts().path(made) / file
            known = objects.upload(path, key, media_type(name), metadata={"musetalk-key": made.key})
        return ObjectRef(uri=known.uri, version=known.version, size=known.size)


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


def _key(prefix: str, name: str) -> str:
    return "/".join(part for part in (prefix.strip("/"), name) if part)
