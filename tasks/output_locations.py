"""Output locations in clients' buckets, checked before any work. Light: the REST shim imports it."""

from typing import Final, Protocol

from musetalk_core.errors import InputError
from tasks.bucket_grants import locate
from tasks.file_names import MAX_KEY_BYTES, key_prefix_and_room, with_suffix

_MIN_NAME_BYTES: Final = 80
"""Bytes that a prefix must leave for names: a short stem, a hash, the longest suffix and an extension."""


class OutputLocation(Protocol):
    """Destination of a job's files; see `flows.job.Output`."""

    @property
    def bucket(self) -> str | None:
        """S3 bucket; None or empty is the system's own store."""
        ...

    @property
    def prefix(self) -> str:
        """Folder inside the bucket."""
        ...

    @property
    def overwrite(self) -> bool:
        """Whether to replace an object of the same name."""
        ...


def output_folder(prefix: str) -> tuple[str, int]:
    """
    Return the key prefix of a job's files, and the bytes that remain for a name.

    Raises:
        InputError: the prefix leaves no room for a name.
    """
    folder, room = key_prefix_and_room(prefix)
    if room < _MIN_NAME_BYTES:
        raise InputError(
            f"The prefix is too long: it may take {MAX_KEY_BYTES - _MIN_NAME_BYTES} bytes in UTF-8."
        )
    return folder, room


def check_output_location(name: str, where: OutputLocation) -> None:
    """
    Raise the errors that `tasks.publish.upload` would raise for a location. Sends nothing.

    Args:
        name:  the public name, with extension.
        where: as of `upload`.

    Raises:
        BucketNotAllowed: jobs may not write there.
        InputError:       the prefix leaves no room for a name.
    """
    if where.bucket:
        folder, room = output_folder(where.prefix)
        locate(f"s3://{where.bucket}/{folder}{with_suffix([name], '', room)[0]}", "write")
