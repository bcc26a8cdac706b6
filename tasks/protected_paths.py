"""Detect keys and paths that lead to protected files, however they are spelled. Sends nothing."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

_DECODINGS: Final = 8
"""Rounds of percent-decoding to check."""
_ALIASES: Final = ("-s3alias", "--ol-s3", ".mrap")
"""Suffixes of bucket aliases: access points, Object Lambda and multi-region access points."""


def is_bucket_alias(bucket: str) -> bool:
    """Tell whether a name is an access point, that is, an alias of a bucket with a name of its own."""
    return bucket.startswith("arn:") or bucket.endswith(_ALIASES)


def key_is_inside(key: str, prefix: str) -> bool:
    """
    Tell whether a key can name an object below a prefix.

    S3 does not interpret keys. Proxies and gateways may decode them again, merge slashes or resolve `.` and
    `..`. A key is inside if any of these interpretations is.

    Args:
        key:    as a job spells it.
        prefix: of the store, with or without its slash; empty for a whole bucket.
    """
    store = _parts(prefix)
    return any(parts[: len(store)] == store for parts in _readings(key))


def key_is_above(key: str, prefix: str) -> bool:
    """
    Tell whether an object of this name would replace a parent folder of the prefix.

    Stores that keep objects as files cannot have both.

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
    Tell whether a path is one of some folders or lies in one.

    Compares device and inode numbers besides spellings, so links, bind mounts and case-insensitive file
    systems are covered.

    Args:
        path:    absolute, links followed as far as it exists.
        folders: may be missing.
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
