"""Output locations in clients' buckets, checked before any work. Light: the REST shim imports it."""

from typing import Final, Protocol

from musetalk_core.errors import InputError
from tasks.bucket_grants import locate
from tasks.file_names import MAX_KEY_BYTES, folder_and_room, marked

_LEAST_ROOM: Final = 80
"""Bytes that a prefix must leave for names: a short stem, a hash, the longest suffix and an extension."""


class Where(Protocol):
    """Where the files of a job go; see `flows.job.Output`."""

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
        """Whether to replace what is there."""
        ...


def output_folder(prefix: str) -> tuple[str, int]:
    """
    Return the key prefix of a job's files, and the bytes that remain for a name.

    Raises:
        InputError: the prefix leaves no room for a name.
    """
    folder, room = folder_and_room(prefix)
    if room < _LEAST_ROOM:
        raise InputError(f"The prefix is too long: it may take {MAX_KEY_BYTES - _LEAST_ROOM} bytes in UTF-8.")
    return folder, room


def check_place(name: str, where: Where) -> None:
    """
    Refuse an output location that `tasks.publish.upload` would refuse, before any rendering. Sends nothing.

    Args:
        name:  the public name, with extension.
        where: as of `upload`.

    Raises:
        BucketNotAllowed: jobs may not write there.
        InputError:       the prefix leaves no room for a name.
    """
    if where.bucket:
        folder, room = output_folder(where.prefix)
        locate(f"s3://{where.bucket}/{folder}{marked([name], '', room)[0]}", "write")
