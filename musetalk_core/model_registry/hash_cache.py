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

CACHE_FILE_NAME: Final = ".weights.json"
_READ_BLOCK_BYTES: Final = 1 << 22
_FIELDS: Final = {"files": "sha256", "origins": "sha256", "checksums": "problem", "verdicts": "problem"}
"""The field without which an entry of a section is ignored."""
_CLOCK_STEP_S: Final = 0.02
"""Resolution of file times with a margin: two writes within one clock step have equal times."""
_MAX_DRAFT_AGE_S: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class DownloadOrigin:
    """The source of a downloaded file and its SHA-256 at that time."""

    source: str
    sha256: str


class HashCache:
    """The cached hashes and download records of one models folder."""

    def __init__(self, folder: Path, fallback: Path) -> None:
        """
        Store the configuration; nothing is read yet.

        Args:
            folder:   models folder.
            fallback: file to write if the folder is not writable.
        """
        self._folder, self._fallback = folder, fallback

    def sha256(self, path: Path) -> str:
        """Return a file's SHA-256; reads the file only if it has changed."""
        cached = self._cached_sha256(path)
        return cached if cached is not None else self.hash_file(path)

    def hash_file(self, path: Path, on_bytes: OnBytes | None = None) -> str:
        """Hash a file, ignoring the cached hash, and cache the result."""
        while True:
            before = file_stamp(path)
            _wait_for_next_step(before["ctime_ns"])
            sha256 = sha256_of(path, on_bytes)
            if file_stamp(path) == before:
                break
        self._write_entry("files", path, {**before, "sha256": sha256})
        return sha256

    def checked(self, path: Path, look: Callable[[], str | None]) -> str | None:
        """
        Return what `look` finds wrong inside a file, None if nothing; looks only if the file has changed.

        Args:
            path: the file.
            look: reads the file and returns the end of a sentence that starts with its path, or None.
        """
        known = self._current_entry("checksums", path)
        if known is not None:
            return known["problem"]
        before, found = file_stamp(path), look()
        if file_stamp(path) == before:
            self._write_entry("checksums", path, {**before, "problem": found})
        return found

    def record_verdict(self, path: Path, problem: str | None) -> None:
        """Record what a full verification found wrong with a file; None: nothing."""
        self._write_entry("verdicts", path, {**file_stamp(path), "problem": problem})

    def known_problem(self, path: Path) -> str | None:
        """Return what was found wrong with a file that has not changed since; None if nothing is known."""
        for section in ("verdicts", "checksums"):
            entry = self._current_entry(section, path)
            if entry is not None and entry["problem"]:
                return str(entry["problem"])
        return None

    def record_download(self, path: Path, origin: DownloadOrigin) -> None:
        """Record the origin and hash of a file that was just installed and verified."""
        self._write_entry("files", path, {**file_stamp(path), "sha256": origin.sha256})
        self._write_entry("origins", path, {"source": origin.source, "sha256": origin.sha256})

    def origin(self, path: Path) -> DownloadOrigin | None:
        """Return the recorded origin of a file; None if it was not downloaded by this program."""
        for entry in self._entries("origins", path):
            return DownloadOrigin(str(entry.get("source", "")), str(entry.get("sha256", "")))
        return None

    def _cached_sha256(self, path: Path) -> str | None:
        entry = self._current_entry("files", path)
        return None if entry is None else str(entry["sha256"])

    def _current_entry(self, section: str, path: Path) -> dict[str, Any] | None:
        """Return the entry of a file that has not changed since; None if there is none."""
        current_stamp = file_stamp(path)
        for entry in self._entries(section, path):
            if {name: entry.get(name) for name in current_stamp} == current_stamp:
                return entry
        return None

    def _entries(self, section: str, path: Path) -> Generator[dict[str, Any]]:
        for cache_file, key in self._cache_files(path):
            entry = _get_section(_read_cache_file(cache_file), section).get(key)
            if isinstance(entry, dict) and _FIELDS[section] in entry:
                yield entry

    def _cache_files(self, path: Path) -> tuple[tuple[Path, str], ...]:
        """
        Return the cache files in order of preference, each with the key of `path` in it.

        Keys in the models folder's cache file are relative paths, because the folder may be moved.
        """
        fallback_entry = (self._fallback, str(path))
        if not path.is_relative_to(self._folder):
            return (fallback_entry,)
        return (self._folder / CACHE_FILE_NAME, path.relative_to(self._folder).as_posix()), fallback_entry

    def _write_entry(self, section: str, path: Path, entry: dict[str, Any]) -> None:
        for cache_file, key in self._cache_files(path):
            try:
                _add_entry(cache_file, section, key, entry)
            except OSError:
                continue  # read-only or full: use the next cache file, or hash again next time
            return


def sha256_of(path: Path, on_bytes: OnBytes | None = None) -> str:
    """Hash a file; returns 64 hexadecimal digits."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_READ_BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        while n := file.readinto(buffer):
            digest.update(buffer[:n])
            if on_bytes:
                on_bytes(n)
    return digest.hexdigest()


def file_stamp(path: Path) -> dict[str, int]:
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


def _wait_for_next_step(changed_at_ns: int) -> None:
    """Wait until a later write would give a recently changed file a different time."""
    age_s = time.time() - changed_at_ns / 1e9
    if 0 <= age_s < _CLOCK_STEP_S:
        time.sleep(_CLOCK_STEP_S - age_s)


def _read_cache_file(cache_file: Path) -> dict[str, Any]:
    try:
        content = json.loads(cache_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing, unreadable or damaged: start with an empty cache
        return {}
    return content if isinstance(content, dict) else {}


def _get_section(content: dict[str, Any], name: str) -> dict[str, Any]:
    section = content.get(name)
    return cast(dict[str, Any], section) if isinstance(section, dict) else {}


def _add_entry(cache_file: Path, section: str, key: str, entry: dict[str, Any]) -> None:
    cache_file.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive_lock(cache_file.parent):
        content = _read_cache_file(cache_file)
        content[section] = _get_section(content, section) | {key: entry}
        _remove_stale_drafts(cache_file)
        handle, draft = tempfile.mkstemp(prefix=f"{cache_file.name}.", dir=cache_file.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1, sort_keys=True)
            Path(draft).chmod(0o644)
            Path(draft).replace(cache_file)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise


def _remove_stale_drafts(cache_file: Path) -> None:
    """Remove drafts older than a day, left by processes that were killed while writing."""
    for draft in cache_file.parent.glob(f"{cache_file.name}.*"):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > _MAX_DRAFT_AGE_S:
                draft.unlink()


@contextmanager
def _exclusive_lock(folder: Path) -> Generator[None]:
    """Hold an exclusive lock between processes, if the file system supports locks."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # no lock support: at worst a cached hash is lost
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
