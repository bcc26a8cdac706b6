"""Lines of JSON in our own store, written once: what a long job goes by whenever it starts anew. Light."""

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from tasks.errors import OutputExists
from tasks.storage import home_store

BATCHES: Final = "batches/"
"""Where the rows of batches lie in our own store."""


def write_lines(key: str, lines: Iterable[Any]) -> None:
    """
    Store some lines, unless somebody has; nothing is there until all are.

    Args:
        key:   where.
        lines: JSON each.

    Raises:
        StorageError, UploadFailed: they could not be stored.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines)
        try:
            home_store().upload(path, key, "application/x-ndjson", overwrite=False)
        except OutputExists:
            return  # another start of the same job was quicker: what it wrote counts


def has_lines(key: str) -> bool:
    """Tell whether lines were written there."""
    return home_store().find(key) is not None


def read_lines(key: str) -> Iterator[Any]:
    """
    Yield the lines of a key, streamed.

    Raises:
        ObjectMissing, StorageError: they cannot be had.
    """
    rest = b""
    for block in home_store().read(key):
        *whole, rest = (rest + block).split(b"\n")
        yield from (json.loads(line) for line in whole)
