"""
Content-addressed cache of intermediate and final files: one folder per cache entry (kind, key).

Layout of the cache folder: `artefacts/{kind}/{key[:2]}/{key}/` (entries), `tmp/` (entries being created),
`locks/`, `leases/`, `parts/` and `identities/` (downloads of inputs), `evict.lock`.
"""

import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tasks import refs
from tasks.errors import ObjectMissing
from tasks.eviction import Evictor, Removed, mirrored_mark
from tasks.keys import content_key
from tasks.leases import Leases
from tasks.locks import exclusive, single_flight
from tasks.mirror import Mirror
from tasks.partial import disk_errors
from tasks.refs import Artefact
from tasks.settings import get_settings

__all__ = ["Artefacts", "artefacts", "content_key"]

_count = itertools.count()


@dataclass(frozen=True, slots=True)
class _Place:
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

    def temporary(self) -> Path:
        return self.cache / "tmp" / f"{self.kind}-{self.key}.{os.getpid()}-{next(_count)}"

    def left_over(self) -> list[Path]:
        return list((self.cache / "tmp").glob(f"{self.kind}-{self.key}.*"))

    def inode(self) -> int | None:
        try:
            return self.folder.stat().st_ino
        except FileNotFoundError:
            return None

    def local(self) -> Artefact | None:
        """Return the entry if this machine has it, and update its time of use."""
        try:
            os.utime(self.folder)
            return _described(self.kind, self.key, self.folder)
        except FileNotFoundError:
            return None


class Artefacts:
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

    def made_once(
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

        Threads and processes of this machine that request the same entry at the same time create it once:
        one creates it and the others wait. If that process dies, the next one starts again.

        Args:
            kind:    sort of entry, matching [a-z][a-z0-9_-]*.
            key:     64 hexadecimal digits, see `content_key`.
            make:    writes at least one file into the empty folder that it receives. The content must
                depend only on what is in the key.
            shared:  also store the entry for other machines, if the system's own store is in S3.
            refresh: create the entry again even if it exists.

        Raises:
            DiskFull:     the disk is full or a size limit was reached.
            StorageError: the copy in the object store could not be read or written.
        """
        place = self._place(kind, key)
        self._leases.hold(place.name)
        before = place.inode() if refresh else None
        mirror = self._mirror() if shared else None

        def ready() -> Artefact | None:
            if refresh and place.inode() == before:
                return None
            return place.local() if mirror is None or mirrored_mark(place.folder).exists() else None

        with single_flight(place.lock, ready) as found:
            if found is None and mirror is not None and not refresh:
                found = mirror.find(kind, key)
                if found is not None and place.folder.is_dir():
                    mirrored_mark(place.folder).touch()
            if found is None:
                found = self._make(place, make, anew=refresh)
                self._put(mirror, found, place, anew=refresh)
        return found

    def path(self, artefact: Artefact) -> Path:
        """
        Return the folder of an entry, downloading it from the object store if this machine lacks it.

        Raises:
            ObjectMissing: neither this machine nor the object store has the entry.
            DiskFull, StorageError: the download failed.
        """
        place = self._place(artefact.kind, artefact.key)
        self._leases.hold(place.name)
        with single_flight(place.lock, place.local) as found:
            if found is None:
                mirror = self._mirror()
                if mirror is None:
                    raise ObjectMissing(
                        f"the {place.kind} cache entry {place.key[:12]}… is no longer in the cache",
                        kind=place.kind,
                        key=place.key,
                    )
                self._build(place, lambda folder: _fetched(mirror, place, folder))
                mirrored_mark(place.folder).touch()
        return place.folder

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
        place = self._place(kind, key)
        self._leases.hold(place.name)
        found = place.local()
        if found is None:
            mirror = self._mirror()
            found = mirror.find(kind, key) if mirror else None
        return found

    def has(self, kind: str, key: str) -> bool:
        """Tell whether the entry exists; a local one is leased until `release()`, as by `find`."""
        return self.find(kind, key) is not None

    def knows(self, kind: str, key: str) -> bool:
        """Tell whether this machine or the object store has an entry, without leasing it."""
        place = self._place(kind, key)
        if place.folder.is_dir():
            return True
        mirror = self._mirror()
        return mirror is not None and mirror.find(kind, key) is not None

    def forget(self, kind: str, key: str) -> bool:
        """
        Delete an entry on this machine and in the object store.

        Returns:
            False if another process of this machine uses the entry: the local copy is kept for now.
        """
        place = self._place(kind, key)
        mirror = self._mirror()
        if mirror is not None and (mirrored_mark(place.folder).exists() or not place.folder.is_dir()):
            mirror.remove(kind, key)
        with exclusive(self._leases.evict_lock):
            if place.name in self._leases.live(others_only=True):
                return False
            gone = self._evictor.take_away(place.folder) if place.folder.is_dir() else None
        if gone is not None:
            shutil.rmtree(gone, ignore_errors=True)
        return True

    def release(self) -> None:
        """Allow eviction of the entries that this process used; called at the end of a run."""
        self._leases.release()

    def keys_here(self, kind: str) -> set[str]:
        """Return the keys of the entries of a kind on this machine."""
        return {path.name for path in (self.folder / "artefacts" / kind).glob("*/*/")}

    def remove_surplus(self, *, dry_run: bool = False) -> list[Removed]:
        """Evict entries until the cache is under its limit and the disk has its reserve, if possible."""
        return self._evictor.remove_surplus(dry_run=dry_run)

    def remove_leftovers(self, *, dry_run: bool = False) -> list[Removed]:
        """Remove the unfinished files of processes that died."""
        return self._evictor.remove_leftovers(dry_run=dry_run)

    def evict(self) -> int:
        """Evict entries until the cache is under its limit; return the bytes removed."""
        return self._evictor.evict()

    def make_room(self) -> None:
        """Evict entries until the disk has its reserve; raise DiskFull if that is not possible."""
        self._evictor.make_room()

    def _place(self, kind: str, key: str) -> _Place:
        refs.check_artefact_name(kind, key)
        return _Place(kind, key, self.folder)

    def _make(self, place: _Place, make: Callable[[Path], None], *, anew: bool) -> Artefact:
        """Create the entry unless this machine has it: a local entry may only lack its copy in the mirror."""
        found = None if anew else place.local()
        return found or self._build(place, make)

    def _build(self, place: _Place, make: Callable[[Path], None]) -> Artefact:
        """Fill a temporary folder and rename it to the entry's path; the caller holds the entry's lock."""
        self._evictor.make_room()
        for folder in place.left_over():  # of processes that died: this process holds the lock
            shutil.rmtree(folder, ignore_errors=True)
        temporary = place.temporary()
        try:
            with disk_errors():
                temporary.mkdir(parents=True)
                make(temporary)
                artefact = _described(place.kind, place.key, temporary)
                if not artefact.files:
                    raise ValueError(f"nothing was written for a {place.kind} cache entry")
                self._install(temporary, place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._evictor.added(artefact.size)
        return artefact

    def _install(self, temporary: Path, place: _Place) -> None:
        place.folder.parent.mkdir(parents=True, exist_ok=True)
        if place.folder.exists():
            old = self._evictor.take_away(place.folder)
            temporary.rename(place.folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.rename(place.folder)

    def _put(self, mirror: Mirror | None, artefact: Artefact, place: _Place, *, anew: bool) -> None:
        if mirror is not None:
            if anew:
                mirror.remove(place.kind, place.key)
            mirror.put(artefact, place.folder)
            mirrored_mark(place.folder).touch()


def _fetched(mirror: Mirror, place: _Place, folder: Path) -> None:
    mirror.fetch(place.kind, place.key, folder)


def _described(kind: str, key: str, folder: Path) -> Artefact:
    """Describe the files of a folder. Not validated: validation checks that the entry already exists."""
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in _files(folder)}
    if not all(refs.is_file_name(name) for name in sizes):
        raise ValueError(f"the files of a {kind} cache entry need plain names: {sorted(sizes)}")
    return Artefact.model_construct(kind=kind, key=key, size=sum(sizes.values()), files=tuple(sorted(sizes)))


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            found.extend(_files(Path(entry.path)) if entry.is_dir() else [Path(entry.path)])
    return found


def artefacts() -> Artefacts:
    """Return the cache of this machine, opened according to the settings."""
    settings = get_settings()
    return _opened(settings.cache_folder, settings.store.cache_bytes, settings.store.min_free_bytes)


@lru_cache(maxsize=4)
def _opened(folder: Path, cache_bytes: int, min_free_bytes: int) -> Artefacts:
    return Artefacts(folder, cache_bytes, min_free_bytes, _store_mirror)


def _store_mirror() -> Mirror | None:
    """Return the mirror if the system's own store is in S3; a folder store needs none."""
    from tasks.storage import home_store, store_is_remote

    return Mirror(home_store()) if store_is_remote() else None


refs.register_artefact_check(lambda kind, key: artefacts().has(kind, key))
