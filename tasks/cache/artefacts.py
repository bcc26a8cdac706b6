"""
Content-addressed cache of intermediate and final files: one folder per cache entry (kind, key).

Layout of the cache folder: `artefacts/{kind}/{key[:2]}/{key}/` (entries), `tmp/` (entries being created),
`locks/`, `leases/`, `parts/` and `identities/` (downloads of inputs), `evict.lock`.
"""

import itertools
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tasks import refs
from tasks.cache.content_keys import content_key
from tasks.cache.eviction import Evictor, RemovedEntry, mirror_marker
from tasks.cache.file_locks import exclusive_lock, single_flight
from tasks.cache.leases import Leases
from tasks.cache.remote_mirror import Mirror
from tasks.errors import ObjectMissing
from tasks.refs import Artefact
from tasks.run.retry import retry_transient
from tasks.settings import get_settings
from tasks.storage.resumable_file import translate_disk_errors

__all__ = ["ArtefactCache", "artefact_cache", "content_key"]

_folder_counter = itertools.count()


@dataclass(frozen=True, slots=True)
class _CacheEntry:
    """The paths of one entry in one cache folder."""

    kind: str
    key: str
    cache: Path

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.key}"

    @property
    def folder(self) -> Path:
        return self.cache / "artefacts" / self.kind / self.key[:2] / self.key

    @property
    def lock(self) -> Path:
        return self.cache / "locks" / f"{self.kind}-{self.key}.lock"

    def new_temporary_folder(self) -> Path:
        return self.cache / "tmp" / f"{self.kind}-{self.key}.{os.getpid()}-{next(_folder_counter)}"

    def temporary_folders(self) -> list[Path]:
        return list((self.cache / "tmp").glob(f"{self.kind}-{self.key}.*"))

    def inode(self) -> int | None:
        try:
            return self.folder.stat().st_ino
        except FileNotFoundError:
            return None

    def find_local(self) -> Artefact | None:
        """Return the entry if this machine has it, and update its time of use."""
        try:
            os.utime(self.folder)
            return _describe_folder(self.kind, self.key, self.folder)
        except FileNotFoundError:
            return None


class ArtefactCache:
    """
    A cache folder that all processes and threads of a machine share.

    An entry that a process uses is not evicted until that process calls `release()`. Other entries are
    evicted in the order of their last use, oldest first.
    """

    def __init__(
        self,
        folder: Path,
        cache_bytes: int,
        min_free_bytes: int = 0,
        mirror: Callable[[], Mirror | None] = lambda: None,
    ) -> None:
        """
        Open a cache folder, and create it if it does not exist.

        Args:
            folder:         a folder on a local file system.
            cache_bytes:    size in bytes above which entries are evicted.
            min_free_bytes: free disk space in bytes below which no new entry is created.
            mirror:         returns the mirror in the object store, or None; called when it is needed.
        """
        self.folder = folder
        for name in ("artefacts", "tmp", "locks"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._leases = Leases(folder)
        self._evictor = Evictor(folder, self._leases, cache_bytes, min_free_bytes)
        self._mirror = mirror

    def get_or_create(
        self,
        kind: str,
        key: str,
        make: Callable[[Path], None],
        *,
        shared: bool = True,
        refresh: bool = False,
    ) -> Artefact:
        """
        Return a cache entry, creating it if neither this machine nor the object store has it.

        Concurrent requests for one entry on this machine create it once: one caller creates it and the others
        wait. If its process dies, the next caller starts again.

        Args:
            kind:    type of entry, matching [a-z][a-z0-9_-]*.
            key:     64 hexadecimal digits, see `content_key`.
            make:    writes at least one file into the empty folder that it receives. The content must
                depend only on what is in the key.
            shared:  also store the entry for other machines, if the system's own store is in S3.
            refresh: create the entry again even if it exists.

        Raises:
            DiskFull:     the disk is full or a size limit was reached.
            StorageError: the copy in the object store could not be read or written.
        """
        entry = self._entry(kind, key)
        self._leases.acquire(entry.name)
        inode_before = entry.inode() if refresh else None
        mirror = self._mirror() if shared else None

        def find_ready() -> Artefact | None:
            if refresh and entry.inode() == inode_before:
                return None
            return entry.find_local() if mirror is None or mirror_marker(entry.folder).exists() else None

        with single_flight(entry.lock, find_ready) as artefact:
            if artefact is None and mirror is not None and not refresh:
                artefact = mirror.find(kind, key)
                if artefact is not None and entry.folder.is_dir():
                    mirror_marker(entry.folder).touch()
            if artefact is None:
                artefact = self._create_unless_local(entry, make, replace=refresh)
                self._upload_to_mirror(mirror, artefact, entry, replace=refresh)
        return artefact

    def path(self, artefact: Artefact) -> Path:
        """
        Return the folder of an entry, downloading it from the object store if this machine lacks it.

        Raises:
            ObjectMissing: neither this machine nor the object store has the entry.
            DiskFull, StorageError: the download failed.
        """
        entry = self._entry(artefact.kind, artefact.key)
        self._leases.acquire(entry.name)
        with single_flight(entry.lock, entry.find_local) as local_artefact:
            if local_artefact is None:
                mirror = self._mirror()
                if mirror is None:
                    raise ObjectMissing(
                        f"the {entry.kind} cache entry {entry.key[:12]}… is no longer in the cache",
                        kind=entry.kind,
                        key=entry.key,
                    )
                self._build(entry, lambda folder: _fetch_from_mirror(mirror, entry, folder))
                mirror_marker(entry.folder).touch()
        return entry.folder

    def file(self, artefact: Artefact, name: str) -> Path:
        """
        Return the path of one file of an entry.

        Raises:
            ObjectMissing: the entry is missing (see `path`), or it has no such file.
        """
        if name not in artefact.files:
            raise ObjectMissing(
                f"the {artefact.kind} cache entry has no file {name}", files=list(artefact.files)
            )
        return self.path(artefact) / name

    def find(self, kind: str, key: str) -> Artefact | None:
        """Return an entry of this machine or of the object store; a local one is leased until `release()`."""
        entry = self._entry(kind, key)
        self._leases.acquire(entry.name)
        artefact = entry.find_local()
        if artefact is None:
            mirror = self._mirror()
            artefact = mirror.find(kind, key) if mirror else None
        return artefact

    def has(self, kind: str, key: str) -> bool:
        """Return whether the entry exists; a local one is leased until `release()`, as by `find`."""
        return self.find(kind, key) is not None

    def exists(self, kind: str, key: str) -> bool:
        """
        Return whether this machine or the object store has an entry, without leasing it.

        The API asks, too: a request that fails is not retried.
        """
        entry = self._entry(kind, key)
        if entry.folder.is_dir():
            return True
        mirror = self._mirror()
        return mirror is not None and mirror.without_retries().find(kind, key) is not None

    def delete(self, kind: str, key: str) -> bool:
        """
        Delete an entry on this machine and in the object store. A request that fails is not retried.

        Returns:
            False if another process of this machine uses the entry: the local copy is kept for now.
        """
        entry = self._entry(kind, key)
        mirror = self._mirror()
        if mirror is not None and (mirror_marker(entry.folder).exists() or not entry.folder.is_dir()):
            mirror.without_retries().remove(kind, key)
        with exclusive_lock(self._leases.evict_lock):
            if entry.name in self._leases.active(others_only=True):
                return False
            detached = self._evictor.detach(entry.folder) if entry.folder.is_dir() else None
        if detached is not None:
            shutil.rmtree(detached, ignore_errors=True)
        return True

    def limit_kind(self, newest: Artefact, limit_bytes: int) -> None:
        """
        Keep all entries of a kind on this machine under a size limit of their own.

        Args:
            newest:      the entry that was used last; removed if the limit cannot be kept otherwise.
            limit_bytes: total size of the entries of its kind.
        """
        self._evictor.limit_kind(self._entry(newest.kind, newest.key).folder, limit_bytes)

    def release(self) -> None:
        """Allow eviction of the entries that this process used; called at the end of a run."""
        self._leases.release()

    def local_keys(self, kind: str) -> set[str]:
        """Return the keys of the entries of a kind on this machine."""
        return {path.name for path in (self.folder / "artefacts" / kind).glob("*/*/")}

    def sizes(self, kind: str, prefix: str) -> dict[str, int]:
        """
        Return the sizes in bytes of entries on this machine or in the object store, without leasing them.

        The API asks, too: a request that fails is not retried.

        Args:
            kind:   type of the entries.
            prefix: first characters of their keys, at least two.
        """
        mirror = self._mirror()
        sizes = {} if mirror is None else mirror.without_retries().sizes(kind, prefix)
        for folder in (self.folder / "artefacts" / kind / prefix[:2]).glob(f"{prefix}*/"):
            with suppress(FileNotFoundError):  # evicted meanwhile
                sizes[folder.name] = sum(path.stat().st_size for path in _list_files(folder))
        return sizes

    def remove_surplus(self, *, dry_run: bool = False) -> list[RemovedEntry]:
        """Evict entries until the cache is under its limit and the disk has its reserve, if possible."""
        return self._evictor.remove_surplus(dry_run=dry_run)

    def remove_leftovers(self, *, dry_run: bool = False) -> list[RemovedEntry]:
        """Remove the unfinished files of processes that died."""
        return self._evictor.remove_leftovers(dry_run=dry_run)

    def evict(self) -> int:
        """Evict entries until the cache is under its limit; return the bytes removed."""
        return self._evictor.evict()

    def make_room(self) -> None:
        """Evict entries until the disk has its reserve; raise DiskFull if that is not possible."""
        self._evictor.make_room()

    def _entry(self, kind: str, key: str) -> _CacheEntry:
        refs.check_artefact_name(kind, key)
        return _CacheEntry(kind, key, self.folder)

    def _create_unless_local(
        self, entry: _CacheEntry, make: Callable[[Path], None], *, replace: bool
    ) -> Artefact:
        """Create the entry unless this machine has it: a local entry may only lack its copy in the mirror."""
        artefact = None if replace else entry.find_local()
        return artefact or self._build(entry, make)

    def _build(self, entry: _CacheEntry, make: Callable[[Path], None]) -> Artefact:
        """Fill a temporary folder and rename it to the entry's path; the caller holds the entry's lock."""
        self._evictor.make_room()
        for folder in entry.temporary_folders():  # of processes that died: this process holds the lock
            shutil.rmtree(folder, ignore_errors=True)
        temporary = entry.new_temporary_folder()
        try:
            with translate_disk_errors():
                temporary.mkdir(parents=True)
                make(temporary)
                artefact = _describe_folder(entry.kind, entry.key, temporary)
                if not artefact.files:
                    raise ValueError(f"nothing was written for a {entry.kind} cache entry")
                self._install(temporary, entry)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._evictor.count_added(artefact.size)
        return artefact

    def _install(self, temporary: Path, entry: _CacheEntry) -> None:
        entry.folder.parent.mkdir(parents=True, exist_ok=True)
        if entry.folder.exists():
            detached = self._evictor.detach(entry.folder)
            temporary.rename(entry.folder)
            shutil.rmtree(detached, ignore_errors=True)
        else:
            temporary.rename(entry.folder)

    def _upload_to_mirror(
        self, mirror: Mirror | None, artefact: Artefact, entry: _CacheEntry, *, replace: bool
    ) -> None:
        if mirror is not None:
            if replace:
                mirror.remove(entry.kind, entry.key)
            mirror.upload(artefact, entry.folder)
            mirror_marker(entry.folder).touch()


def _fetch_from_mirror(mirror: Mirror, entry: _CacheEntry, folder: Path) -> None:
    mirror.fetch(entry.kind, entry.key, folder)


def _describe_folder(kind: str, key: str, folder: Path) -> Artefact:
    """Describe the files of a folder. Not validated: validation checks that the entry already exists."""
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in _list_files(folder)}
    if not all(refs.is_file_name(name) for name in sizes):
        raise ValueError(f"the files of a {kind} cache entry need plain names: {sorted(sizes)}")
    return Artefact.model_construct(kind=kind, key=key, size=sum(sizes.values()), files=tuple(sorted(sizes)))


def _list_files(folder: Path) -> list[Path]:
    files: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            files.extend(_list_files(Path(entry.path)) if entry.is_dir() else [Path(entry.path)])
    return files


def artefact_cache() -> ArtefactCache:
    """Return the cache of this machine, opened according to the settings."""
    settings = get_settings()
    return _open_cache(settings.cache_folder, settings.store.cache_bytes, settings.store.min_free_bytes)


@lru_cache(maxsize=4)
def _open_cache(folder: Path, cache_bytes: int, min_free_bytes: int) -> ArtefactCache:
    return ArtefactCache(folder, cache_bytes, min_free_bytes, _store_mirror)


def _store_mirror() -> Mirror | None:
    """
    Return the mirror if the system's own store is in S3; a folder store needs none.

    Its requests are retried here and not by tasks alone: flows look up entries between their tasks, and
    Prefect does when it loads the result of an earlier run.
    """
    from tasks.storage.home_store import home_store, store_is_remote

    return Mirror(home_store(), retry_transient) if store_is_remote() else None


refs.register_artefact_check(lambda kind, key: artefact_cache().has(kind, key))
