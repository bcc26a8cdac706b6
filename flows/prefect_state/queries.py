"""
Any-of queries to the Prefect server, split into chunks and merged into one result.

SQLite 3.40 (Debian 12) passes at most 127 arguments to a function, and Prefect writes a filter on tags as one
call of `json_array`: the server answers a filter with more values with status 500. A response has at most 200
rows. A filter that excludes values (`not_any_`) or requires all of them (`all_`) cannot be split into chunks:
remove unwanted rows from the result instead. This module imports nothing of Prefect, so the API may use it.
"""

from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.schemas.filters import FlowRunFilter

MAX_FILTER_VALUES: Final = 100
"""Maximum number of values in one filter."""
PAGE_SIZE: Final = 200
"""Maximum number of rows in one response: the server's default limit."""


class Row(Protocol):
    """A record of the server with an id."""

    @property
    def id(self) -> UUID:
        """Id of the record."""
        ...


V = TypeVar("V")
R = TypeVar("R", bound=Row)


def chunks_of(values: Iterable[V], size: int = MAX_FILTER_VALUES) -> Iterator[list[V]]:
    """
    Split values into lists that fit one filter.

    Args:
        values: duplicates are used once.
        size:   maximum length of a list.

    Yields:
        Lists of 1 to `size` values in the order of their first occurrence; nothing if there are no values.
    """
    distinct = list(dict.fromkeys(values))
    for start in range(0, len(distinct), size):
        yield distinct[start : start + size]


def read_any_of(
    values: Iterable[V],
    read: Callable[[list[V], int, int], Sequence[R]],
    *,
    order: Callable[[R], Any] | None = None,
    limit: int | None = None,
) -> list[R]:
    """
    Read the rows that match any of the values, independent of the number of values and rows.

    Args:
        values: values of the filter. If there are none, no request is made and no rows are returned.
        read:   makes one request, `read(chunk, limit, offset)`, with a filter on the values in `chunk`.
        order:  sort key of the result; with a limit, it must agree with the sort order that `read` requests.
            None: the order of the chunks, and within one that of the server.
        limit:  maximum number of rows, the first by `order`; None: all.

    Returns:
        Each row once, even if it matches values of several chunks.

    Raises:
        ValueError: a limit without an order: which rows come first would depend on the chunks.
    """
    return _follow(_read_plan(values, order, limit), read)


async def read_any_of_async(
    values: Iterable[V],
    read: Callable[[list[V], int, int], Awaitable[Sequence[R]]],
    *,
    order: Callable[[R], Any] | None = None,
    limit: int | None = None,
) -> list[R]:
    """Read the rows that match any of the values; see `read_any_of`."""
    return await _follow_async(_read_plan(values, order, limit), read)


def read_by_key(key: Callable[[R], V | None], read: Callable[[V | None, int, int], Sequence[R]]) -> list[R]:
    """
    Read all rows that match a filter, page by page, while rows enter and leave the result.

    An offset counts the rows before a page: if some of them leave the result, as a run does that ends, as
    many are skipped. A page therefore begins at the key of the last row of the page before it.

    Args:
        key:  sort key of a row, which never changes, such as the time at which a run was first due.
        read: makes one request, `read(after, limit, offset)`: rows with a key of at least `after`, ascending
            by their keys; None: all rows. The offset is 0 unless more than a page of rows have one key.

    Returns:
        Each row once, in ascending order of the keys.
    """
    return _follow(_key_plan(key), read)


async def read_by_key_async(
    key: Callable[[R], V | None], read: Callable[[V | None, int, int], Awaitable[Sequence[R]]]
) -> list[R]:
    """Read all rows that match a filter, page by page; see `read_by_key`."""
    return await _follow_async(_key_plan(key), read)


def _follow(
    plan: Generator[tuple[V, int, int], Sequence[R], list[R]], read: Callable[[V, int, int], Sequence[R]]
) -> list[R]:
    """Send the requests that a plan yields, and return its result."""
    try:
        request = next(plan)
        while True:
            request = plan.send(read(*request))
    except StopIteration as done:
        return done.value


async def _follow_async(
    plan: Generator[tuple[V, int, int], Sequence[R], list[R]],
    read: Callable[[V, int, int], Awaitable[Sequence[R]]],
) -> list[R]:
    """Send the requests that a plan yields, and return its result; see `_follow`."""
    try:
        request = next(plan)
        while True:
            request = plan.send(await read(*request))
    except StopIteration as done:
        return done.value


def _key_plan(
    key: Callable[[R], V | None],
) -> Generator[tuple[V | None, int, int], Sequence[R], list[R]]:
    row_by_id: dict[UUID, R] = {}
    after: V | None = None
    offset = 0
    while True:
        page = yield after, PAGE_SIZE, offset
        row_by_id.update((row.id, row) for row in page)
        if len(page) < PAGE_SIZE:
            return list(row_by_id.values())
        last = key(page[-1])
        after, offset = (after, offset + len(page)) if last == after else (last, 0)


def due_since(run_filter: "FlowRunFilter", time: datetime | None) -> "FlowRunFilter":
    """Return a filter for the runs that were first due at a time or later; None: any time."""
    from prefect.client.schemas.filters import FlowRunFilterExpectedStartTime

    if time is None:
        return run_filter
    since: Any = {"after_": time}
    return run_filter.model_copy(update={"expected_start_time": FlowRunFilterExpectedStartTime(**since)})


def _read_plan(
    values: Iterable[V], order: Callable[[R], Any] | None, limit: int | None
) -> Generator[tuple[list[V], int, int], Sequence[R], list[R]]:
    """Yield requests, receive their responses, and return the merged rows."""
    if limit is not None and order is None:
        raise ValueError("a limit requires an order")
    row_by_id: dict[UUID, R] = {}
    for chunk in chunks_of(values):
        offset = 0
        # any one chunk may contain all of the first `limit` rows
        while (size := PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - offset)) > 0:
            page = yield chunk, size, offset
            row_by_id.update((row.id, row) for row in page)
            offset += len(page)
            if len(page) < size:
                break
    rows = list(row_by_id.values())
    if order is not None:
        rows.sort(key=order)
    return rows[:limit]
