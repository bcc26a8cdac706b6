"""Detection of keys and paths that lead to protected files, in any spelling. Sends nothing."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

_MAX_DECODINGS: Final = 8
"""Maximum number of rounds of percent-decoding."""
_ALIAS_SUFFIXES: Final = ("-s3alias", "--ol-s3", ".mrap")
"""Suffixes of bucket aliases: access points, Object Lambda access points, multi-region access points."""


def is_bucket_alias(bucket: str) -> bool:
    """Return whether a name is an access point, which is an alias of a bucket."""
    return bucket.startswith("arn:") or bucket.endswith(_ALIAS_SUFFIXES)


def key_is_inside(key: str, prefix: str) -> bool:
    """
    Return whether a key can name an object below a prefix.

    S3 does not interpret keys. Proxies and gateways may decode them again, merge slashes or resolve `.` and
    `..`. A key is inside the prefix if any of these interpretations is.

    Args:
        key:    key from a job's reference.
        prefix: prefix of the store, with or without its slash; empty for a whole bucket.
    """
    store = _segments(prefix)
    return any(parts[: len(store)] == store for parts in _interpretations(key))


def key_is_above(key: str, prefix: str) -> bool:
    """
    Return whether an object with this key would replace a parent folder of the prefix.

    A store on a file system cannot have a file and a folder of the same name.

    Args:
        key:    key from a job's reference.
        prefix: prefix of the store.
    """
    store = _segments(prefix)
    return any(parts == store[: len(parts)] for parts in _interpretations(key))


def _interpretations(key: str) -> Iterator[list[str]]:
    for _ in range(_MAX_DECODINGS):
        yield _segments(key)
        decoded = unquote(key)
        if decoded == key:
            return
        key = decoded


def _segments(key: str) -> list[str]:
    parts: list[str] = []
    for part in key.replace("\\", "/").split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return parts


def path_is_inside(path: Path, folders: Iterable[Path]) -> bool:
    """
    Return whether a path is one of the folders or is inside one.

    Compares device and inode numbers as well as spellings, which covers links, bind mounts and
    case-insensitive file systems.

    Args:
        path:    absolute path, with links resolved as far as it exists.
        folders: the folders; they may be missing.
    """
    resolved_folders = [folder.resolve() for folder in folders]
    if any(path.is_relative_to(folder) for folder in resolved_folders):
        return True
    identities = {identity for folder in resolved_folders if (identity := _identity(folder))}
    return any(_identity(one) in identities for one in (path, *path.parents))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
