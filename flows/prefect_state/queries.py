"""
Any-of queries to the Prefect server in chunks, merged into one answer.

SQLite 3.40 (Debian 12) passes at most 127 arguments to a function, and Prefect writes a filter on tags as one
call of `json_array`: a filter with more values is answered with status 500. One answer has at most 200 rows.
A filter that excludes values (`not_any_`) or demands all of them (`all_`) cannot be cut into chunks: leave
unwanted rows out of the answer instead. Nothing of Prefect is imported here, so the API may use it.
"""

from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

MOST_VALUES: Final = 100
"""Values in one filter."""
PAGE: Final = 200
"""Rows in one answer: the server's default limit."""


class Row(Protocol):
    """A record of the server, known by its id."""

    @property
    def id(self) -> UUID:
        """The record's id."""
        ...


V = TypeVar("V")
R = TypeVar("R", bound=Row)


def chunks_of(values: Iterable[V], size: int = MOST_VALUES) -> Iterator[list[V]]:
    """
    Cut values into lists that fit one filter.

    Args:
        values: repeated ones are used once.
        size:   most in a list.

    Yields:
        lists of 1 to `size` values in their first order; nothing for no values.
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
    Read the rows that match any of the values, however many values and rows there are.

    Args:
        values: what one filter would have listed. No values match no rows; the server is not asked.
        read:   makes one request: `read(chunk, limit, offset)`. Its filter holds `chunk`.
        order:  sort key of the answer; with a limit, it must agree with the sort order that `read` asks for.
            None = the order of the chunks, and within one that of the server.
        limit:  most rows, the first by `order`; None = all.

    Returns:
        each row once, although it may match values of several chunks.

    Raises:
        ValueError: a limit without an order: which rows come first would depend on the chunks.
    """
    plan = _reading(values, order, limit)
    try:
        request = next(plan)
        while True:
            request = plan.send(read(*request))
    except StopIteration as done:
        return done.value


async def read_any_of_async(
    values: Iterable[V],
    read: Callable[[list[V], int, int], Awaitable[Sequence[R]]],
    *,
    order: Callable[[R], Any] | None = None,
    limit: int | None = None,
) -> list[R]:
    """Read the rows that match any of the values; see `read_any_of`."""
    plan = _reading(values, order, limit)
    try:
        request = next(plan)
        while True:
            request = plan.send(await read(*request))
    except StopIteration as done:
        return done.value


def _reading(
    values: Iterable[V], order: Callable[[R], Any] | None, limit: int | None
) -> Generator[tuple[list[V], int, int], Sequence[R], list[R]]:
    """Yield requests, receive their answers, return the merged rows."""
    if limit is not None and order is None:
        raise ValueError("a limit needs an order")
    found: dict[UUID, R] = {}
    for chunk in chunks_of(values):
        offset = 0
        # every chunk may hold all of the first `limit` rows
        while (size := PAGE if limit is None else min(PAGE, limit - offset)) > 0:
            page = yield chunk, size, offset
            found.update((row.id, row) for row in page)
            offset += len(page)
            if len(page) < size:
                break
    rows = list(found.values())
    if order is not None:
        rows.sort(key=order)
    return rows[:limit]
