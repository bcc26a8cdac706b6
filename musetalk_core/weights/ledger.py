"""
Cached SHA-256 hashes of large files: a file is hashed again only if its size, times or inode change.

The inode change time (ctime) is included because programs cannot set it: a file that was replaced by one of
the same size and modification time (`cp -p`, `rsync -t`) is hashed again.

The cache is a small JSON file in the models folder, or a fallback file if that folder is not writable.
"""

import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

OnBytes = Callable[[int], None]
"""Called with the number of bytes just read."""

BOOK: Final = ".weights.json"
_BLOCK: Final = 1 << 22
_CLOCK_STEP_S: Final = 0.02
"""Resolution of file times with a margin: two writes within one clock step have equal times."""
_DRAFT_LIFE_S: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of a downloaded file and its SHA-256 at that time."""

    source: str
    sha256: str


class Ledger:
    """The cached hashes and download records of one models folder."""

    def __init__(self, folder: Path, spare: Path) -> None:
        """
        Store the configuration; nothing is read yet.

        Args:
            folder:   models folder.
            fallback: file to write if the folder is not writable.
        """
        self._folder, self._spare = folder, spare

    def sha256(self, path: Path) -> str:
        """Return a file's SHA-256; reads the file only if it has changed."""
        known = self._known(path)
        return known if known is not None else self.read(path)

    def read(self, path: Path, on_bytes: OnBytes | None = None) -> str:
        """Hash a file, ignoring the cached hash, and cache the result."""
        while True:
            before = stamp(path)
            _wait_for_next_step(before["ctime_ns"])
            found = sha256_of(path, on_bytes)
            if stamp(path) == before:
                break
        self._note("files", path, {**before, "sha256": found})
        return found

    def came(self, path: Path, origin: Origin) -> None:
        """Record the origin and hash of a file that was just installed and verified."""
        self._note("files", path, {**stamp(path), "sha256": origin.sha256})
        self._note("origins", path, {"source": origin.source, "sha256": origin.sha256})

    def origin(self, path: Path) -> Origin | None:
        """Return the recorded origin of a file; None if it was not downloaded by this program."""
        for entry in self._entries("origins", path):
            return Origin(str(entry.get("source", "")), str(entry.get("sha256", "")))
        return None

    def _known(self, path: Path) -> str | None:
        now = stamp(path)
        for entry in self._entries("files", path):
            if {name: entry.get(name) for name in now} == now:
                return str(entry["sha256"])
        return None

    def _entries(self, section: str, path: Path) -> Generator[dict[str, Any]]:
        for book, key in self._places(path):
            entry = _section(_read(book), section).get(key)
            if isinstance(entry, dict) and "sha256" in entry:
                yield entry

    def _places(self, path: Path) -> tuple[tuple[Path, str], ...]:
        """Return each cache file with the file's key in it; relative in the folder's own, which may move."""
        spare = (self._spare, str(path))
        if not path.is_relative_to(self._folder):
            return (spare,)
        return (self._folder / BOOK, path.relative_to(self._folder).as_posix()), spare

    def _note(self, section: str, path: Path, entry: dict[str, Any]) -> None:
        for book, key in self._places(path):
            try:
                _add(book, section, key, entry)
            except OSError:
                continue  # read-only or full: use the next cache file, or hash again next time
            return


def sha256_of(path: Path, on_bytes: OnBytes | None = None) -> str:
    """Hash a file; returns 64 hexadecimal digits."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        while n := file.readinto(buffer):
            digest.update(buffer[:n])
            if on_bytes:
                on_bytes(n)
    return digest.hexdigest()


def stamp(path: Path) -> dict[str, int]:
    """
    Return size, times and inode of a file, which change if it is replaced. Does not read the file.

    Raises:
        OSError: the file does not exist.
    """
    stat = path.stat()
    return {
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "ctime_ns": stat.st_ctime_ns,
        "inode": stat.st_ino,
    }


def _wait_for_next_step(changed_ns: int) -> None:
    """Wait until a later write would give a recently changed file a different time."""
    age_s = time.time() - changed_ns / 1e9
    if 0 <= age_s < _CLOCK_STEP_S:
        time.sleep(_CLOCK_STEP_S - age_s)


def _read(book: Path) -> dict[str, Any]:
    try:
        content = json.loads(book.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing, unreadable or damaged: start with an empty cache
        return {}
    return content if isinstance(content, dict) else {}


def _section(content: dict[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}


def _add(book: Path, section: str, key: str, entry: dict[str, Any]) -> None:
    book.parent.mkdir(parents=True, exist_ok=True)
    with _locked(book.parent):
        content = _read(book)
        content[section] = _section(content, section) | {key: entry}
        _remove_stale_drafts(book)
        handle, draft = tempfile.mkstemp(prefix=f"{book.name}.", dir=book.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1, sort_keys=True)
            Path(draft).chmod(0o644)
            Path(draft).replace(book)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise


def _remove_stale_drafts(book: Path) -> None:
    """Remove drafts older than a day, left by processes that were killed while writing."""
    for draft in book.parent.glob(f"{book.name}.*"):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > _DRAFT_LIFE_S:
                draft.unlink()


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Hold an exclusive lock between processes, if the file system supports locks."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # no lock support: at worst a cached hash is lost
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
