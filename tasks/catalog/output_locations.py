"""
Checks of output locations in clients' buckets, before any work starts.

Imports no torch: the REST API uses this module.
"""

from typing import Final, Protocol

from musetalk_core.errors import InputError
from tasks.file_names import MAX_KEY_BYTES, key_prefix_and_name_limit, with_suffix
from tasks.storage.bucket_grants import locate

_MIN_NAME_BYTES: Final = 80
"""Bytes that a prefix must leave for a name: a short stem, a hash, the longest suffix and an extension."""


class OutputLocation(Protocol):
    """The destination of a job's files; see the schema `Output` of a job's parameters."""

    @property
    def bucket(self) -> str | None:
        """S3 bucket; None or empty for the system's own store."""
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
    Return the key prefix of a job's files, and the number of bytes that remain for a name.

    Raises:
        InputError: the prefix is too long.
    """
    folder, max_name_bytes = key_prefix_and_name_limit(prefix)
    if max_name_bytes < _MIN_NAME_BYTES:
        raise InputError(
            f"The prefix is too long: it may have at most {MAX_KEY_BYTES - _MIN_NAME_BYTES} bytes in UTF-8."
        )
    return folder, max_name_bytes


def check_output_location(name: str, location: OutputLocation) -> None:
    """
    Raise the errors that `tasks.catalog.outputs.upload` would raise for a location. Sends nothing.

    Args:
        name:     the public name, with extension.
        location: the output location, as for `upload`.

    Raises:
        BucketNotAllowed: the grants do not allow writing there.
        InputError:       the prefix is too long.
    """
    if location.bucket:
        folder, max_name_bytes = output_folder(location.prefix)
        locate(f"s3://{location.bucket}/{folder}{with_suffix([name], '', max_name_bytes)[0]}", "write")
