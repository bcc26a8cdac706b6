"""
JSON Lines in the system's own store, written once: the rows of a batch, which a restarted job reads again.

Imports no torch: the REST API uses this module.
"""

import json
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from tasks.errors import OutputExists
from tasks.run.retry import retry_transient
from tasks.storage.home_store import home_store

BATCHES_PREFIX: Final = "batches/"
"""Key prefix of the rows of batches in the system's own store."""
_FILE: Final = "lines.jsonl"


def write_lines(key: str, lines: Iterable[Any]) -> None:
    """
    Store JSON lines under a key, unless the key exists. The object appears only when it is complete.

    Args:
        key:   key in the system's own store.
        lines: JSON values, one per line.

    Raises:
        StorageError, UploadFailed: the lines could not be stored, in spite of retries.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _FILE
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines)
        upload = partial(home_store().upload, path, key, "application/x-ndjson", overwrite=False)
        try:
            retry_transient(upload)
        except OutputExists:
            return  # another attempt of the same job wrote them first


def has_lines(key: str) -> bool:
    """Return whether lines were stored under a key. Raises StorageError if retries do not help."""
    return retry_transient(partial(home_store().find, key)) is not None


@contextmanager
def local_lines(key: str) -> Generator[Path]:
    """
    Download the lines that were stored under a key to a temporary file, which `read_lines` reads.

    A batch reads its rows while it runs, for hours: no response of the store may stay open that long.

    Raises:
        ObjectMissing, StorageError: the object cannot be read, in spite of retries.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _FILE
        retry_transient(partial(home_store().download, key, None, path))
        yield path


def read_lines(path: Path) -> Iterator[Any]:
    """Yield the JSON values of a file of JSON lines, one at a time."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
