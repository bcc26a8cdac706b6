"""
Lists of jobs, newest first, page by page.

The server has no filter by time of creation and does not sort by it, but by the time at which a run was first
due, which never changes: a moment after its creation, except for runs that were scheduled for later. A cursor
holds that time. Filters by time of creation are evaluated here, on the runs that were due about that time and
on those that may have been scheduled ahead.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from api.jobs.model import JobFilter
from api.orchestrator.connection import PrefectConnection
from api.orchestrator.mapping import TAG_PREFIX, state_filter
from api.schemas.pagination import Cursor
from flows.prefect_state.labels import parent_tag
from flows.prefect_state.queries import PAGE_SIZE
from flows.registry import JOB_TYPES
from tasks.run.tenancy import TENANT_TAG

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_MAX_SCANNED_PAGES: Final = 20
"""Maximum number of Prefect's pages read for one page of jobs; the next page continues behind them."""
_MAX_SCAN_S: Final = 0.15
"""Seconds after which no further page of Prefect's is read for one page of jobs, filtered by creation."""
_SCANNED_PAGE_SIZE: Final = 100
"""Minimum number of runs per request where some are removed here."""
_NEAR_CREATION: Final = timedelta(hours=1)
"""How far from its creation a run is due, unless it was scheduled ahead."""
_SCHEDULED_AHEAD_TAG: Final = "auto-scheduled"
"""Prefect's tag of runs that a schedule created, possibly weeks before they are due."""
_FAR_FUTURE: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of flow runs: those due later first, then the newest."""

    runs: "tuple[FlowRun, ...]"
    next: str | None
    """Cursor of the next page; None at the end."""


async def list_runs(
    connection: PrefectConnection, job_filter: JobFilter, matches: "Callable[[FlowRun], bool]"
) -> RunPage:
    """
    Return a page of the flow runs of jobs.

    It may have fewer runs than the limit, or none, although there are more: its cursor says so.

    Args:
        connection: connection to Prefect.
        job_filter: the filter, with limit and cursor.
        matches:    evaluates what the server cannot filter by, besides the time of creation.

    Raises:
        Problem: `invalid_input` for an invalid cursor.
    """
    cursor = Cursor.decode(job_filter.cursor) if job_filter.cursor else Cursor(_FAR_FUTURE, ())
    is_scan = job_filter.created_before is not None or job_filter.created_after is not None
    size = max(_SCANNED_PAGE_SIZE, job_filter.limit) if is_scan else job_filter.limit
    found: list[FlowRun] = []
    stop_at = time.monotonic() + _MAX_SCAN_S if is_scan else float("inf")
    for _ in range(_MAX_SCANNED_PAGES):
        section = _section_at(job_filter, cursor.time, datetime.now(UTC))
        scanned = await _read_page(connection, job_filter, section, cursor, size)
        matching = [run for run in scanned if _is_created_in_range(run, job_filter) and matches(run)]
        remaining = job_filter.limit - len(found)
        found += matching[:remaining]
        # runs beyond the page's limit belong to the next page
        passed = scanned if len(matching) <= remaining else scanned[: scanned.index(matching[remaining])]
        cursor = cursor.advance([(_due_time(run), run.id) for run in passed])
        if len(scanned) < size and len(matching) <= remaining:
            if section.next_time is None:
                return RunPage(tuple(found), None)
            cursor = Cursor(section.next_time, ())
        if len(found) >= job_filter.limit or time.monotonic() > stop_at:
            break
    return RunPage(tuple(found), cursor.encode())


@dataclass(frozen=True, slots=True)
class _Section:
    """A section of a list, by the time at which runs were due."""

    after: datetime | None
    """Runs due since then belong to the section; None: all earlier ones."""
    next_time: datetime | None = None
    """The latest time of the next section; None if this is the last."""
    only_scheduled_ahead: bool = False
    """Only runs of schedules can match the filter."""


def _section_at(job_filter: JobFilter, until: datetime, now: datetime) -> _Section:
    """
    Return the section of a list that begins at a time.

    A run that was created before a time and is due much later was scheduled ahead: it is due in the future,
    or a schedule created it. The others have to be skipped, and there may be many.

    Args:
        job_filter: the filter.
        until:      runs due until then belong to the section.
        now:        current time.
    """
    earliest, latest = job_filter.created_after, job_filter.created_before
    first = earliest - _NEAR_CREATION if earliest else None
    last = latest + _NEAR_CREATION if latest else None
    if last is None or until <= last:
        return _Section(first)
    end = now if until > now > last else last  # future runs are few: all of them were scheduled ahead
    return _Section(end + timedelta(microseconds=1), next_time=end, only_scheduled_ahead=until <= now)


def _is_created_in_range(run: "FlowRun", job_filter: JobFilter) -> bool:
    created = run.created or datetime.now(UTC)
    earliest, latest = job_filter.created_after, job_filter.created_before
    return (earliest is None or created >= earliest) and (latest is None or created <= latest)


async def _read_page(
    connection: PrefectConnection, job_filter: JobFilter, section: _Section, cursor: Cursor, size: int
) -> "list[FlowRun]":
    """
    Return a page of runs from the cursor to the end of its section.

    Runs with the cursor's timestamp that an earlier page returned are removed here: a filter of their ids
    could exceed the number of parameters that the server's database accepts.
    """
    seen, offset = frozenset(cursor.seen), 0
    unseen: list[FlowRun] = []
    while len(unseen) < size:
        limit = min(PAGE_SIZE, size - len(unseen) + len(seen))
        page = await _read_rows(connection, job_filter, section, cursor.time, limit, offset)
        unseen += [run for run in page if run.id not in seen]
        offset += len(page)
        if len(page) < limit:
            break
    return unseen[:size]


async def _read_rows(
    connection: PrefectConnection,
    job_filter: JobFilter,
    section: _Section,
    until: datetime,
    limit: int,
    offset: int,
) -> "list[FlowRun]":
    from prefect.client.schemas.filters import (
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterName,
        FlowRunFilterTags,
    )
    from prefect.client.schemas.sorting import FlowRunSort

    time_range: Any = {"before_": None if until == _FAR_FUTURE else until, "after_": section.after}
    all_tags = [f"{TAG_PREFIX}{tag}" for tag in job_filter.tags]
    if job_filter.part_of is not None:
        all_tags.append(parent_tag(job_filter.part_of))
    if job_filter.tenant is not None:
        all_tags.append(f"{TENANT_TAG}{job_filter.tenant}")
    if section.only_scheduled_ahead:
        all_tags.append(_SCHEDULED_AHEAD_TAG)
    flow_filter = FlowFilter(name=FlowFilterName(any_=sorted(job_filter.types or JOB_TYPES)))
    run_filter = FlowRunFilter(
        state=state_filter(job_filter.statuses),
        tags=FlowRunFilterTags(all_=all_tags) if all_tags else None,
        expected_start_time=FlowRunFilterExpectedStartTime(**time_range)
        if any(time_range.values())
        else None,
        name=FlowRunFilterName(like_=_pattern(job_filter.search)) if job_filter.search else None,
    )
    return await connection.read(
        lambda client: client.read_flow_runs(
            flow_filter=flow_filter,
            flow_run_filter=run_filter,
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=limit,
            offset=offset,
        )
    )


def _pattern(text: str) -> str:
    """Return a LIKE pattern that matches every name with the text, and possibly others."""
    # `_` matches any character: databases differ in the escapes of a pattern and the case of other letters
    return "".join(one if one.isascii() and one.isalnum() else "_" for one in text)


def _due_time(run: "FlowRun") -> datetime:
    """Return the time by which lists are sorted."""
    return run.expected_start_time or run.created or datetime.now(UTC)
