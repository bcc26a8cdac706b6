"""
JSON Lines in the system's own store, written once: the rows of a batch, which a restarted job reads again.

Imports no torch: the REST API uses this module.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from tasks.errors import OutputExists
from tasks.storage.home_store import home_store

BATCHES_PREFIX: Final = "batches/"
"""Key prefix of the rows of batches in the system's own store."""


def write_lines(key: str, lines: Iterable[Any]) -> None:
    """
    Store JSON lines under a key, unless the key exists. The object appears only when it is complete.

    Args:
        key:   key in the system's own store.
        lines: JSON values, one per line.

    Raises:
        StorageError, UploadFailed: the lines could not be stored.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines)
        try:
            home_store().upload(path, key, "application/x-ndjson", overwrite=False)
        except OutputExists:
            return  # another attempt of the same job wrote them first


def has_lines(key: str) -> bool:
    """Return whether lines were stored under a key."""
    return home_store().find(key) is not None


def read_lines(key: str) -> Iterator[Any]:
    """
    Yield the JSON values that were stored under a key; the object is streamed.

    Raises:
        ObjectMissing, StorageError: the object cannot be read.
    """
    incomplete_line = b""
    for block in home_store().read(key):
        *complete_lines, incomplete_line = (incomplete_line + block).split(b"\n")
        yield from (json.loads(line) for line in complete_lines)
