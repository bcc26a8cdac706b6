"""Which names lead into the own store or private files, however they are spelled. Nothing is sent."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

_DECODINGS: Final = 8
"""Rounds of percent-decoding that are looked at; a name that has more is none that anybody means."""
_ALIASES: Final = ("-s3alias", "--ol-s3", ".mrap")
"""Ends of bucket names that are other names of some bucket: access points, object lambdas, multi-region."""


def is_bucket_alias(bucket: str) -> bool:
    """Tell whether a bucket's name is an access point's: another name of a bucket that has its own."""
    return bucket.startswith("arn:") or bucket.endswith(_ALIASES)


def key_is_inside(key: str, prefix: str) -> bool:
    """
    Tell whether a key can name an object below a prefix.

    S3 takes keys as they are; servers and proxies in front of a store may decode them once more, join double
    slashes, or follow `.` and `..`. A key is inside if any of these readings is.

    Args:
        key:    as a job spells it.
        prefix: of the store, with or without its slash; empty for a whole bucket.
    """
    store = _parts(prefix)
    return any(parts[: len(store)] == store for parts in _readings(key))


def key_is_above(key: str, prefix: str) -> bool:
    """
    Tell whether an object of this name would stand where the prefix has a folder.

    Stores that keep objects as files have no room for both.

    Args:
        key:    as a job spells it.
        prefix: of the store.
    """
    store = _parts(prefix)
    return any(parts == store[: len(parts)] for parts in _readings(key))


def _readings(key: str) -> Iterator[list[str]]:
    for _ in range(_DECODINGS):
        yield _parts(key)
        decoded = unquote(key)
        if decoded == key:
            return
        key = decoded


def _parts(key: str) -> list[str]:
    parts: list[str] = []
    for part in key.replace("\\", "/").split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return parts


def path_is_inside(path: Path, folders: Iterable[Path]) -> bool:
    """
    Tell whether a path lies in one of some folders, or is one of them.

    Compares what the file system has, not only spellings: links, bind mounts, and letters that a file system
    takes for the same lead to the same folder.

    Args:
        path:    absolute, links followed as far as it exists.
        folders: that may be missing.
    """
    known = [folder.resolve() for folder in folders]
    if any(path.is_relative_to(folder) for folder in known):
        return True
    identities = {identity for folder in known if (identity := _identity(folder))}
    return any(_identity(one) in identities for one in (path, *path.parents))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
