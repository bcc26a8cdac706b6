"""
Ledger of usage in the system's own store: sums of attempts by day, tenant, batch, type and engine.

Each worker process writes one object per day, `usage/DAY/WRITER.json`, and replaces it as its sums grow.
Maintenance merges the objects of an ended day into `usage/DAY/all.json`, which names them: until they are
deleted, readers ignore them, so nothing counts twice. Reading takes no request to Prefect.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, Final

from tasks.errors import ObjectMissing
from tasks.run.usage import PhaseUsage, RunUsage, sum_of
from tasks.storage.home_store import home_store
from tasks.storage.object_store import ObjectInfo, read_small

USAGE_PREFIX: Final = "usage/"
"""Key prefix of the ledger in the system's own store."""
UNFINISHED: Final = "unfinished"
"""Result of attempts that were running when their worker wrote last: they still run, or the worker ended."""
_MERGED_NAME: Final = "all.json"
_MAX_OBJECT_BYTES: Final = 1 << 27
_MAX_READERS: Final = 16
_MAX_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class UsageKey:
    """
    For whom and by what something was used.

    Attributes:
        tenant: tenant of the run; None for none.
        batch:  id of the batch or pipeline of the run, which is its own for a batch itself; None for none.
        type:   name of the flow.
        engine: rendering engine or voice; None if there is none, or the run ended before it was chosen.
    """

    tenant: str | None
    batch: str | None
    type: str
    engine: str | None


@dataclass(frozen=True, slots=True)
class UsageSum:
    """
    A sum over attempts.

    Attributes:
        attempts:     number of attempts by result.
        seconds:      their duration.
        stored_bytes: size of the outputs that they stored.
        phases:       CPU and GPU time by phase.
    """

    attempts: Mapping[str, int] = field(default_factory=dict[str, int])
    seconds: float = 0.0
    stored_bytes: int = 0
    phases: Mapping[str, PhaseUsage] = field(default_factory=dict[str, PhaseUsage])

    @property
    def total(self) -> PhaseUsage:
        """CPU and GPU time of all phases."""
        return sum_of(self.phases.values())

    def plus(self, other: "UsageSum") -> "UsageSum":
        """Return the sum of both."""
        tally = UsageTally()
        tally.add(self)
        tally.add(other)
        return tally.total()


class UsageTally:
    """A sum over many sums, which grows in place."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._attempts: dict[str, int] = {}
        self._phases: dict[str, tuple[float, float]] = {}
        self._seconds, self._stored_bytes = 0.0, 0

    def add(self, more: UsageSum) -> None:
        """Add a sum."""
        for result, count in more.attempts.items():
            self._attempts[result] = self._attempts.get(result, 0) + count
        phases = self._phases
        for phase, (cpu_s, device_s) in more.phases.items():
            before = phases.get(phase)
            phases[phase] = (before[0] + cpu_s, before[1] + device_s) if before else (cpu_s, device_s)
        self._seconds += more.seconds
        self._stored_bytes += more.stored_bytes

    def total(self) -> UsageSum:
        """Return the sum."""
        phases = {phase: PhaseUsage(*used) for phase, used in self._phases.items()}
        return UsageSum(dict(self._attempts), self._seconds, self._stored_bytes, phases)


EMPTY: Final = UsageSum()
Sums = dict[UsageKey, UsageSum]


def attempt_sum(usage: RunUsage, result: str, seconds: float) -> UsageSum:
    """Return the sum of one attempt."""
    return UsageSum({result: 1}, seconds, usage.stored_bytes, dict(usage.phases))


def add_sum(sums: Sums, key: UsageKey, more: UsageSum) -> None:
    """Add to the sum of a key."""
    sums[key] = sums.get(key, EMPTY).plus(more)


def write_part(day: date, writer: str, sums: Sums) -> None:
    """
    Write the sums of a writer for a day, in place of what it wrote before.

    Args:
        day:    the day, in UTC.
        writer: name of the writer, which no other process has; letters, digits, `-` and `_`.
        sums:   all its sums of this day.

    Raises:
        StorageError: the store does not respond.
    """
    _put(f"{USAGE_PREFIX}{day.isoformat()}/{writer}.json", sums, [])


def read_days(first: date, last: date) -> list[tuple[date, Sums]]:
    """
    Return the sums of each object of the days of a range.

    Args:
        first: first day.
        last:  last day, included.

    Returns:
        Pairs of a day and sums, which callers must not change; a day may occur more than once.

    Raises:
        StorageError: the store does not respond.
    """
    for _ in range(_MAX_TRIES):
        with suppress(ObjectMissing):  # maintenance has merged a day since it was listed
            return _read_listed(list(_list_days(first, last)))
    raise ObjectMissing("The ledger of usage changes too often to be read; try again.")


def _read_listed(infos: list[ObjectInfo]) -> list[tuple[date, Sums]]:
    merged = {_day_of(info.key): info for info in infos if info.key.endswith(f"/{_MERGED_NAME}")}
    parts = [info for info in infos if info not in merged.values()]
    with ThreadPoolExecutor(_MAX_READERS) as pool:
        whole = dict(zip(merged, pool.map(_read, merged.values()), strict=True))
        listed = {day: document.parts for day, document in whole.items()}
        unmerged = [info for info in parts if _name_of(info.key) not in listed.get(_day_of(info.key), ())]
        sums = [document.sums for document in pool.map(_read, unmerged)]
    read = zip((_day_of(info.key) for info in unmerged), sums, strict=True)
    return [*((day, document.sums) for day, document in whole.items()), *read]


def merge_day(day: date) -> int:
    """
    Merge the objects of an ended day, and delete those that were merged.

    Returns:
        The number of deleted objects.

    Raises:
        StorageError: the store does not respond.
    """
    store, infos = home_store(), list(_list_days(day, day))
    names = {_name_of(info.key): info for info in infos}
    merged_info = names.pop(_MERGED_NAME, None)
    if not names:
        return 0
    merged = _read(merged_info) if merged_info else _Document({}, frozenset())
    sums, parts = dict(merged.sums), set(merged.parts)
    for name, info in names.items():
        if name not in parts:
            for key, more in _read(info).sums.items():
                add_sum(sums, key, more)
            parts.add(name)
    _put(f"{USAGE_PREFIX}{day.isoformat()}/{_MERGED_NAME}", sums, sorted(parts))
    for info in names.values():
        store.delete(info.key)
    return len(names)


def list_days() -> Iterator[date]:
    """Yield the days of the ledger that have an object, oldest first."""
    last: date | None = None
    for info in home_store().list(USAGE_PREFIX):
        day = _day_of(info.key)
        if day != last:
            last = day
            yield day


def delete_day(day: date) -> int:
    """Delete the objects of a day; return their number."""
    infos = list(_list_days(day, day))
    for info in infos:
        home_store().delete(info.key)
    return len(infos)


def _list_days(first: date, last: date) -> Iterator[ObjectInfo]:
    """Yield the objects of a range of days, without listing those before it."""
    for info in home_store().list(USAGE_PREFIX, after=f"{USAGE_PREFIX}{first.isoformat()}"):
        if _day_of(info.key) > last:
            return
        yield info


def _day_of(key: str) -> date:
    return date.fromisoformat(key.removeprefix(USAGE_PREFIX).partition("/")[0])


def _name_of(key: str) -> str:
    return key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class _Document:
    sums: Sums
    parts: frozenset[str]


def _read(info: ObjectInfo) -> _Document:
    return _read_version(info.uri, info.key, info.version)


@lru_cache(maxsize=4096)
def _read_version(uri: str, key: str, version: str) -> _Document:
    """Return the content of a version of an object; callers must not change it."""
    data: dict[str, Any] = json.loads(read_small(home_store(), key, _MAX_OBJECT_BYTES))
    sums: Sums = {}
    for row in data["sums"]:
        phases = {phase: PhaseUsage(*used) for phase, used in row["phases"].items()}
        one = UsageSum(row["attempts"], row["seconds"], row["stored_bytes"], phases)
        sums[UsageKey(row["tenant"], row["batch"], row["type"], row["engine"])] = one
    return _Document(sums, frozenset(data["parts"]))


def _put(key: str, sums: Sums, parts: Iterable[str]) -> None:
    rows = [
        {
            "tenant": group.tenant,
            "batch": group.batch,
            "type": group.type,
            "engine": group.engine,
            "attempts": dict(one.attempts),
            "seconds": round(one.seconds, 6),
            "stored_bytes": one.stored_bytes,
            "phases": {
                phase: [round(used.cpu_s, 6), round(used.device_s, 6)] for phase, used in one.phases.items()
            },
        }
        for group, one in sums.items()
    ]
    content = json.dumps({"sums": rows, "parts": list(parts)}, separators=(",", ":")).encode()
    home_store().put_bytes(key, content, "application/json")
