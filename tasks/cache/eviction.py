"""LRU eviction of the cache, and removal of leftovers. Entries in use are never evicted."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from musetalk_core.errors import DiskFull
from tasks.cache.file_locks import exclusive_lock, release_lock, try_acquire
from tasks.cache.leases import Leases

_RESCAN_INTERVAL_S = 30.0
_RESCAN_SHARE = 0.02
_PART_MAX_AGE_S = 24 * 3600.0
_IDENTITY_MAX_AGE_S = 30 * 24 * 3600.0
_DETACHED_PREFIX = "gone-"


@dataclass(frozen=True, slots=True)
class RemovedEntry:
    """An entry or leftover that was removed, or that a dry run would remove; `size` is in bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class _Entry:
    used_at: float
    size: int
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.folder.parent.parent.name}/{self.folder.name}"


class Evictor:
    """
    Evicts entries of one cache folder.

    Scanning a big cache takes time. Therefore a process scans it only if its own estimate of the size exceeds
    the limit, if it added 2 % of the limit, or if its last scan is more than 30 s ago.
    """

    def __init__(self, folder: Path, leases: Leases, cache_bytes: int, min_free_bytes: int) -> None:
        self._folder, self._leases = folder, leases
        self._cache_bytes, self._min_free_bytes = cache_bytes, min_free_bytes
        self._mutex = threading.Lock()
        self._total, self._added, self._scanned_at = 0, 0, float("-inf")

    def count_added(self, size: int) -> None:
        """Count a new entry of `size` bytes, and evict if the cache may have grown too large."""
        with self._mutex:
            self._total += size
            self._added += size
            is_recent = time.monotonic() - self._scanned_at < _RESCAN_INTERVAL_S
            is_small = self._added <= self._cache_bytes * _RESCAN_SHARE
            if self._total <= self._cache_bytes and is_recent and is_small:
                return
        self.evict()

    def make_room(self) -> None:
        """
        Evict entries until the disk has its reserve of free space.

        Raises:
            DiskFull: no more entries can be evicted.
        """
        missing_bytes = self._missing_free_bytes()
        if missing_bytes > 0:
            self.evict(missing_bytes)
            missing_bytes = self._missing_free_bytes()
        if missing_bytes > 0:
            raise DiskFull(
                "The worker's disk has less free space than its reserve of"
                f" {self._min_free_bytes / 1e9:.1f} GB. Free some space or lower"
                " MUSETALK_STORE__MIN_FREE_BYTES.",
                lacking_bytes=missing_bytes,
            )

    def _missing_free_bytes(self) -> int:
        return self._min_free_bytes - shutil.disk_usage(self._folder).free

    def evict(self, also_free: int = 0) -> int:
        """
        Evict unused entries until the cache is under its limit and `also_free` more bytes are free.

        Returns:
            The number of bytes removed.
        """
        removed = self._evict_least_recent(also_free)
        self.remove_leftovers()
        return sum(entry.size for entry in removed)

    def remove_surplus(self, *, dry_run: bool = False) -> list[RemovedEntry]:
        """
        Evict unused entries until the cache is under its limit and the disk has its reserve, if possible.

        Args:
            dry_run: list the entries without removing them.
        """
        return self._evict_least_recent(max(0, self._missing_free_bytes()), dry_run=dry_run)

    def _evict_least_recent(self, also_free: int, *, dry_run: bool = False) -> list[RemovedEntry]:
        detached: list[Path] = []
        removed: list[RemovedEntry] = []
        with self._mutex, exclusive_lock(self._leases.evict_lock):
            in_use = self._leases.active()
            entries = sorted(_entries(self._folder / "artefacts"), key=lambda entry: entry.used_at)
            total = remaining = sum(entry.size for entry in entries)
            target = min(self._cache_bytes, total - also_free)
            for entry in entries:
                if remaining <= target:
                    break
                if entry.name not in in_use:
                    removed.append(RemovedEntry(entry.name, entry.size))
                    remaining -= entry.size
                    if not dry_run:
                        detached.append(self.detach(entry.folder))
            if not dry_run:
                self._total, self._added, self._scanned_at = remaining, 0, time.monotonic()
        for folder in detached:
            shutil.rmtree(folder, ignore_errors=True)
        return removed

    def limit_kind(self, newest: Path, limit_bytes: int) -> None:
        """
        Keep the entries of one kind under a size limit of their own.

        Entries that no running job uses are evicted first, oldest first. If they do not suffice, `newest` is
        removed unless another process uses it: a job that makes more than the limit keeps its first entries,
        which a later job asks for first.

        Args:
            newest:      folder of the entry that was used last.
            limit_bytes: total size of all entries of its kind.
        """
        detached: list[Path] = []
        with self._mutex, exclusive_lock(self._leases.evict_lock):
            root = newest.parent.parent
            entries = sorted(_entries(root.parent, root.name), key=lambda entry: entry.used_at)
            surplus = sum(entry.size for entry in entries) - limit_bytes
            in_use = self._leases.active() if surplus > 0 else set[str]()
            unused = [entry for entry in entries if entry.name not in in_use]
            used_by_others = self._leases.active(others_only=True) if surplus > 0 else set[str]()
            own = [e for e in entries if e.folder == newest and e.name in in_use - used_by_others]
            for entry in [*unused, *own]:
                if surplus <= 0:
                    break
                surplus -= entry.size
                self._total -= entry.size
                detached.append(self.detach(entry.folder))
        for folder in detached:
            shutil.rmtree(folder, ignore_errors=True)

    def detach(self, folder: Path) -> Path:
        """Move an entry's folder to `tmp/` with one rename; the caller deletes it afterwards."""
        detached = self._folder / "tmp" / f"{_DETACHED_PREFIX}{uuid4().hex}"
        detached.parent.mkdir(parents=True, exist_ok=True)
        mirror_marker(folder).unlink(missing_ok=True)
        folder.rename(detached)
        return detached

    def remove_leftovers(self, *, dry_run: bool = False) -> list[RemovedEntry]:
        """
        Remove the leftovers of dead processes: unfinished entries, old partial files, old identities.

        Args:
            dry_run: list the leftovers without removing them.
        """
        now = time.time()
        removed: list[RemovedEntry] = []
        for path in _children(self._folder / "tmp"):
            size = _path_size(path)
            if path.name.startswith(_DETACHED_PREFIX):
                is_left = _age_s(path, now) > _PART_MAX_AGE_S
                if is_left and not dry_run:
                    shutil.rmtree(path, ignore_errors=True)
            else:
                lock = self._folder / "locks" / f"{path.name.split('.', 1)[0]}.lock"
                is_left = remove_if_unlocked(path, lock, dry_run=dry_run)
            if is_left:
                removed.append(RemovedEntry(path.name, size))
        for name, life in (("parts", _PART_MAX_AGE_S), ("identities", _IDENTITY_MAX_AGE_S)):
            for path in _children(self._folder / name):
                is_draft = path.name.startswith(".")
                if _age_s(path, now) > (_PART_MAX_AGE_S if is_draft else life):
                    removed.append(RemovedEntry(f"{name}/{path.name}", _path_size(path)))
                    if not dry_run:
                        path.unlink(missing_ok=True)
        return removed


def remove_if_unlocked(folder: Path, lock: Path, *, dry_run: bool = False) -> bool:
    """Remove a temporary folder if no process holds its lock; return whether the lock was free."""
    fd = try_acquire(lock)
    if fd is None:
        return False
    if not dry_run:
        shutil.rmtree(folder, ignore_errors=True)
    release_lock(fd, lock)
    return True


def mirror_marker(folder: Path) -> Path:
    """Return the path of the empty file that marks an entry as uploaded to the object store."""
    return folder.with_name(f"{folder.name}.mirrored")


def _entries(root: Path, kind: str = "*") -> Iterator[_Entry]:
    for folder in root.glob(f"{kind}/*/*/"):
        try:
            yield _Entry(folder.stat().st_mtime, folder_size(folder), folder)
        except FileNotFoundError:
            continue


def folder_size(folder: Path) -> int:
    """Return the total size in bytes of all files below a folder."""
    size = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                size += folder_size(Path(entry.path))
            else:
                size += entry.stat(follow_symlinks=False).st_size
    return size


def _path_size(path: Path) -> int:
    try:
        return folder_size(path) if path.is_dir() else path.stat().st_size
    except FileNotFoundError:
        return 0


def _children(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _age_s(path: Path, now: float) -> float:
    try:
        return now - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
