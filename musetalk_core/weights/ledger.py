"""
Hashes of large files, remembered: a file is read once for as long as its size, times and inode stay.

The time of the last change of the inode (ctime) is one of them: programs cannot set it, so a file that was
replaced by one of the same size and modification time (`cp -p`, `rsync -t`) is read again.

Kept in a small file beside the weights, or in a spare place where their folder cannot be written.
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
"""Called with the number of bytes that were just read."""

BOOK: Final = ".weights.json"
_BLOCK: Final = 1 << 22
_CLOCK_STEP_S: Final = 0.02
"""Resolution of file times with a margin: two writes within one step of the clock have equal times."""
_DRAFT_LIFE_S: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a file came from and what it was then."""

    source: str
    sha256: str


class Ledger:
    """What is remembered about the files of one models folder."""

    def __init__(self, folder: Path, spare: Path) -> None:
        """
        Describe it; nothing is read yet.

        Args:
            folder: of the models.
            spare:  file that is written when the folder cannot be.
        """
        self._folder, self._spare = folder, spare

    def sha256(self, path: Path) -> str:
        """Return a file's hash, reading it only when it changed since."""
        known = self._known(path)
        return known if known is not None else self.read(path)

    def read(self, path: Path, on_bytes: OnBytes | None = None) -> str:
        """Read a file whatever is remembered, and remember its hash."""
        while True:
            before = stamp(path)
            _wait_for_next_step(before["ctime_ns"])
            found = sha256_of(path, on_bytes)
            if stamp(path) == before:
                break
        self._note("files", path, {**before, "sha256": found})
        return found

    def came(self, path: Path, origin: Origin) -> None:
        """Note that a file was just put here, whole and checked."""
        self._note("files", path, {**stamp(path), "sha256": origin.sha256})
        self._note("origins", path, {"source": origin.source, "sha256": origin.sha256})

    def origin(self, path: Path) -> Origin | None:
        """Return where a file came from; None when we did not put it there."""
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
        """Each book with the key of the file in it: relative in the folder's own, which may move."""
        spare = (self._spare, str(path))
        if not path.is_relative_to(self._folder):
            return (spare,)
        return (self._folder / BOOK, path.relative_to(self._folder).as_posix()), spare

    def _note(self, section: str, path: Path, entry: dict[str, Any]) -> None:
        for book, key in self._places(path):
            try:
                _add(book, section, key, entry)
            except OSError:
                continue  # read-only or full: the next place, or read the file again next time
            return


def sha256_of(path: Path, on_bytes: OnBytes | None = None) -> str:
    """Read a file and return its SHA-256, 64 hexadecimal digits."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        while n := file.readinto(buffer):
            digest.update(buffer[:n])
            if on_bytes:
                on_bytes(n)
    return digest.hexdigest()


def stamp(path: Path) -> dict[str, int]:
    """
    Return size, times and inode of a file, which change when it is replaced. Does not read the file.

    Raises:
        OSError: there is no such file.
    """
    stat = path.stat()
    return {
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "ctime_ns": stat.st_ctime_ns,
        "inode": stat.st_ino,
    }


def _wait_for_next_step(changed_ns: int) -> None:
    """Wait until a later write would give a recently changed file another time."""
    age_s = time.time() - changed_ns / 1e9
    if 0 <= age_s < _CLOCK_STEP_S:
        time.sleep(_CLOCK_STEP_S - age_s)


def _read(book: Path) -> dict[str, Any]:
    try:
        content = json.loads(book.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, not ours to read, or damaged: begin anew
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
    """Let one process at a time write, where the file system knows locks."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # no locks there: at worst a hash is forgotten
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
