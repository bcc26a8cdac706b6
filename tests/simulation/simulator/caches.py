"""
A history of the cache: processes on two machines make, read, evict and share entries, and die at any step.

The cache works on real folders; its file locks and its steps on files let other processes run in between.
"""

import asyncio
import fcntl
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from greenlet import getcurrent

from simulator.store import Bucket
from simulator.world import EPOCH_S, Process, World, current_process, run_sync, wait, world
from tasks.cache import artefacts, eviction, file_locks, leases
from tasks.cache.artefacts import ArtefactCache
from tasks.cache.content_keys import content_key
from tasks.cache.remote_mirror import Mirror
from tasks.errors import StorageError
from tasks.settings import get_settings
from tasks.storage.s3_store import S3Store

KIND = "speech"
KEYS = tuple(content_key(simulated=number) for number in range(3))
FILE_BYTES = 1000
FILES = ("a.bin", "b.bin")
_real_rename, _real_rmtree = Path.rename, shutil.rmtree
_real_iterdir, _real_glob = Path.iterdir, Path.glob
_uses = itertools.count()
"""Uses of entries, which keeps the order of those that happen at the same simulated time."""


def _pause() -> None:
    """Let other processes run before a step on files."""
    if current_process.get() is not None and getcurrent().parent is not None:
        wait(world().sleep(world().random.choice((0.0, 0.001, 0.05))))


def _rename(path: Path, target: Any) -> Path:
    _pause()
    renamed = _real_rename(path, target)
    if renamed.is_dir() and renamed.stat().st_mtime < EPOCH_S:  # made a moment ago
        _utime(renamed)
    return renamed


def _utime(path: Any) -> None:
    """Set the time of a file as the simulated clock shows it: the real one would differ in a replay."""
    now = world().wall(current_process.get()).timestamp() + 1e-6 * next(_uses)
    os.utime(path, (now, now))


def _iterdir(path: Path) -> Iterator[Path]:
    """In the order of names: a file system has an order of its own."""
    return iter(sorted(_real_iterdir(path)))


def _glob(path: Path, pattern: str) -> Iterator[Path]:
    return iter(sorted(_real_glob(path, pattern)))


def _rmtree(path: Any, ignore_errors: bool = False) -> None:
    _pause()
    _real_rmtree(path, ignore_errors=ignore_errors)


def _flock(fd: int, operation: int) -> None:
    if operation & fcntl.LOCK_NB:
        fcntl.flock(fd, operation)
        return
    while True:
        try:
            fcntl.flock(fd, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            wait(world().sleep(0.01))
        else:
            return


def _open_lock(path: Path) -> int:
    _pause()
    fd = _real_open_lock(path)
    process = current_process.get()
    if process is not None:
        process.locks.append(fd)
    return fd


def _close_lock(fd: int) -> None:
    process = current_process.get()
    if process is not None and fd in process.locks:
        process.locks.remove(fd)
    _real_close_lock(fd)


_real_open_lock, _real_close_lock = file_locks.open_lock, file_locks.close_lock
LOCKS = [
    (file_locks.open_lock, _open_lock),
    (file_locks.close_lock, _close_lock),
    (fcntl, SimpleNamespace(**{**vars(fcntl), "flock": _flock})),
    (shutil, SimpleNamespace(**{**vars(shutil), "rmtree": _rmtree})),
    (os, SimpleNamespace(**{**vars(os), "utime": _utime, "getpid": lambda: 1})),
]
"""Replacements for `seams`, in the modules of `tasks.cache` only."""
MODULES = (artefacts, eviction, file_locks, leases)


class CacheHistory:
    """One history of the cache."""

    def __init__(self, world: World) -> None:
        self.world, self.random = world, world.random
        self.accepted: list[Any] = []
        # names and times of a history do not depend on earlier ones
        global _uses
        _uses, artefacts._folder_counter = itertools.count(), itertools.count()  # pyright: ignore[reportPrivateUsage]
        world.bucket = Bucket(world)
        world.bucket.lost_share = self.random.choice((0.0, 0.02))
        world.crash_share, world.max_crashes = self.random.choice((0.0, 0.01, 0.03)), 5
        self.root = get_settings().cache_folder.parent / f"simulated-{world.seed}"
        self.limit = self.random.choice((10**9, 2 * FILE_BYTES * len(FILES)))
        self.makers: Counter[tuple[str, str]] = Counter()
        self.made: Counter[tuple[str, str]] = Counter()
        self.allowed: Counter[tuple[str, str]] = Counter()

    async def play(self) -> None:
        """Let processes use the cache, some of which die; then check that a fresh one gets everything."""
        world = self.world
        world.cover("profile", "cache", world.crash_share > 0, self.limit < 10**9)
        tasks = [self._process(f"m{number % 2}") for number in range(6)]
        await asyncio.wait(tasks, timeout=600)
        world.faults_ended = True
        last = [self._process(machine, without_faults=True) for machine in ("m0", "m1")]
        _, hanging = await asyncio.wait(last, timeout=600)
        if hanging:
            world.violate("Cache: make a cache entry", "a fresh process waits for ever for a dead one's lock")
        for task in [*tasks, *last]:
            if task.done() and not task.cancelled() and task.exception() is not None:
                from simulator.world import describe

                world.violate("no surprise", f"a process ended by {describe(task.exception())}")
        self._check_made()
        _real_rmtree(self.root, ignore_errors=True)

    def _process(self, machine: str, *, without_faults: bool = False) -> "asyncio.Task[Any]":
        process = self.world.spawn(f"cache on {machine}", machine, can_crash=not without_faults)
        process.died.add_done_callback(lambda _: self._release_locks(process))
        return self.world.run_in(process, self._until_death(process, without_faults))

    async def _until_death(self, process: Process, without_faults: bool) -> None:
        work = self.world.loop.create_task(run_sync(self._use, process, without_faults))
        await asyncio.wait({work, process.died}, return_when="FIRST_COMPLETED")
        if work.done():
            work.result()
            self._release_locks(process)

    def _release_locks(self, process: Process) -> None:
        for fd in process.locks:
            _real_close_lock(fd)
        process.locks.clear()

    def _use(self, process: Process, without_faults: bool) -> None:
        folder = self.root / process.machine
        cache = ArtefactCache(folder, self.limit, mirror=lambda: Mirror(S3Store("simulated")))
        for _ in range(len(KEYS) if without_faults else self.random.randint(2, 5)):
            key = self.random.choice(KEYS)
            match "make" if without_faults else self.random.choice(("make", "make", "make", "find", "evict")):
                case "make":
                    self._get(cache, process, key)
                case "find":
                    self._find(cache, process, key)
                case _:
                    self.world.cover("evicted", cache.evict() > 0)
                    self.allowed.update((process.machine, key) for key in KEYS)
            if self.random.random() < 0.4:
                cache.release()
            wait(self.world.sleep(self.random.choice((0.0, 0.1, 0.5))))

    def _get(self, cache: ArtefactCache, process: Process, key: str) -> None:
        try:
            artefact = cache.get_or_create(KIND, key, lambda folder: self._make(folder, process, key))
            folder = cache.path(artefact)
        except StorageError as error:
            self.world.cover("store failed")
            if self.world.faults_ended:
                self.world.violate("Cache: half an upload is never seen", f"{key[:8]} cannot be had: {error}")
            self.allowed[process.machine, key] += 1
            return
        self._check(folder, key, f"{process.name} got an entry that is not whole")
        wait(self.world.sleep(self.random.choice((0.0, 0.2))))
        self._check(folder, key, f"an entry that {process.name} uses was changed")

    def _make(self, folder: Path, process: Process, key: str) -> None:
        place = process.machine, key
        others = [one for one in self._making(place) if one.is_alive and one is not process]
        if others:
            self.world.violate(
                "Cache: an entry is made once on one machine", f"{key[:8]} is made twice at once"
            )
        process.making = place
        for name in FILES:
            (folder / name).write_bytes(_content(key, name)[: FILE_BYTES // 2])
            _pause()
            (folder / name).write_bytes(_content(key, name))
            _pause()
        process.making = None
        self.made[place] += 1
        self.world.cover("made", self.made[place])

    def _making(self, place: tuple[str, str]) -> list[Process]:
        return [one for one in self.world.processes.values() if one.making == place]

    def _find(self, cache: ArtefactCache, process: Process, key: str) -> None:
        found = cache.find(KIND, key)
        if found is None:
            return
        self.world.cover("found")
        try:
            folder = cache.path(found)
        except StorageError:
            return
        self._check(folder, key, f"{process.name} has found an entry that is not whole")

    def _check(self, folder: Path, key: str, text: str) -> None:
        for name in FILES:
            path = folder / name
            if not path.is_file() or path.read_bytes() != _content(key, name):
                self.world.violate("Cache: no reader sees half of an entry", f"{text}: {key[:8]}/{name}")

    def _check_made(self) -> None:
        for place, count in self.made.items():
            if count > 1 + self.world.crashes + self.allowed[place]:
                self.world.violate(
                    "Cache: an entry is made once on one machine", f"{place} was made {count} times"
                )


def _content(key: str, name: str) -> bytes:
    return (f"{key}{name}" * FILE_BYTES).encode()[:FILE_BYTES]


def install() -> None:
    """Replace the locks and steps on files of the cache."""
    Path.rename = _rename  # pyright: ignore[reportAttributeAccessIssue]
    Path.iterdir, Path.glob = _iterdir, _glob  # pyright: ignore[reportAttributeAccessIssue]
    by_identity = {id(original): replacement for original, replacement in LOCKS}
    for module in MODULES:
        for attribute, value in list(vars(module).items()):
            if id(value) in by_identity:
                setattr(module, attribute, by_identity[id(value)])
