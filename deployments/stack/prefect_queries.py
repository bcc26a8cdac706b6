"""
Faster queries of Prefect's server, with the same results: reads of flow runs by flow and by tag.

By flow: Prefect asks for each run whether a flow of the wanted name exists, so that a list of a type without
runs reads all runs. Here the ids of the flows are read first and the runs are filtered by them, which indexes
support.

By tag, on SQLite: Prefect compares the tags of each run by two subqueries. Here a search in the text of the
tags excludes nearly all runs before that comparison, and an index that contains the tags is preferred
(`deployments.stack.prefect_indexes`).
"""

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import sqlalchemy as sa
    from prefect.server.schemas.filters import FlowFilter, FlowRunFilter
    from sqlalchemy.ext.asyncio import AsyncSession

_MAX_FLOWS: Final = 100
"""Maximum number of flow ids in a filter; filters that match more flows are left to Prefect."""
_RARE: Final = 0.1
"""Share of the runs that SQLite's planner expects a filter to match."""


@dataclass(frozen=True, slots=True)
class RunsOfFlows:
    """A filter of runs: Prefect's filter, and the ids of their flows."""

    run_filter: "FlowRunFilter | None"
    flow_ids: "Sequence[UUID]"
    is_ordered_scan: bool
    """SQLite scans the runs in the order of the list, instead of sorting all runs of the flows."""

    def as_sql_filter(self) -> "sa.ColumnElement[bool]":
        """Return the condition, as Prefect's filters do."""
        import sqlalchemy as sa
        from prefect.server.database.orm_models import FlowRun
        from sqlalchemy.sql import operators

        others = self.run_filter.as_sql_filter() if self.run_filter is not None else sa.true()
        if not self.is_ordered_scan:
            return sa.and_(FlowRun.flow_id.in_(self.flow_ids), others)
        # the unary plus keeps SQLite from a search by flow
        scanned = sa.UnaryExpression[UUID](
            FlowRun.flow_id.expression, operator=operators.custom_op("+"), type_=FlowRun.flow_id.type
        )
        return sa.and_(_likelihood(scanned.in_(self.flow_ids)), others)


def filter_by_flow_ids() -> None:
    """Make the server read the ids of the wanted flows before it reads or counts their runs."""
    from prefect.server.models import flow_runs

    flow_runs.read_flow_runs = _by_flow_ids(flow_runs.read_flow_runs)
    flow_runs.count_flow_runs = _by_flow_ids(flow_runs.count_flow_runs)


def _by_flow_ids(original: "Callable[..., Awaitable[Any]]") -> "Callable[..., Awaitable[Any]]":
    @wraps(original)
    async def read(session: "AsyncSession", *args: Any, **options: Any) -> Any:
        flow_filter: FlowFilter | None = options.get("flow_filter")
        if flow_filter is not None and options.get("task_run_filter") is None:
            flow_ids = await _flow_ids(session, flow_filter)
            if len(flow_ids) <= _MAX_FLOWS:
                narrowed = RunsOfFlows(
                    options.get("flow_run_filter"), flow_ids, _is_ordered_scan(session, options.get("sort"))
                )
                options |= {"flow_filter": None, "flow_run_filter": narrowed}
        return await original(session, *args, **options)

    return read


async def _flow_ids(session: "AsyncSession", flow_filter: "FlowFilter") -> "Sequence[UUID]":
    import sqlalchemy as sa
    from prefect.server.database.orm_models import Flow

    query = sa.select(Flow.id).where(flow_filter.as_sql_filter()).limit(_MAX_FLOWS + 1)
    return (await session.execute(query)).scalars().all()


def _is_ordered_scan(session: "AsyncSession", sort: Any) -> bool:
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    return is_sqlite and str(getattr(sort, "value", "")).startswith("EXPECTED_START_TIME")


def search_tags_as_text() -> None:
    """Make SQLite exclude runs by the text of their tags before it compares the tags themselves."""
    from prefect.server.utilities import database
    from sqlalchemy.dialects.postgresql.operators import HAS_ALL, HAS_ANY

    operators = database._sqlite_json_operator_map  # pyright: ignore[reportPrivateUsage]  on purpose
    operators[HAS_ALL] = _after_text_search(operators[HAS_ALL], is_all=True)
    operators[HAS_ANY] = _after_text_search(operators[HAS_ANY], is_all=False)


def _after_text_search(
    original: "Callable[[sa.BinaryExpression[Any]], sa.ColumnElement[bool]]", *, is_all: bool
) -> "Callable[[sa.BinaryExpression[Any]], sa.ColumnElement[bool]]":
    @wraps(original)
    def search(element: "sa.BinaryExpression[Any]") -> "sa.ColumnElement[bool]":
        import sqlalchemy as sa

        exact = original(element)
        values = _array_elements(element.right)
        if not values or not isinstance(element.left, sa.Column):
            return exact
        found = [_may_contain(element.left, value) for value in values]
        return sa.and_(_likelihood(sa.and_(*found) if is_all else sa.or_(*found)), exact)

    return search


def _array_elements(elements: Any) -> "list[sa.ColumnElement[Any]]":
    """Return the values of an array literal, with or without a cast; empty for other expressions."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql

    if isinstance(elements, sa.Cast):
        elements = elements.clause
    return list(elements.clauses) if isinstance(elements, postgresql.array) else []


def _may_contain(tags: "sa.ColumnElement[Any]", value: "sa.ColumnElement[Any]") -> "sa.ColumnElement[bool]":
    """Return a condition that is false only if the array does not contain a text."""
    import sqlalchemy as sa

    text = sa.type_coerce(tags, sa.String())
    # JSON may escape all but printable ASCII
    is_other = value.op("GLOB")(sa.literal_column("'*[^ -~]*'"))
    return sa.or_(sa.func.instr(text, sa.func.json_quote(value)) > sa.literal_column("0"), is_other)


def _likelihood(condition: "sa.ColumnElement[bool]") -> "sa.ColumnElement[bool]":
    import sqlalchemy as sa

    return sa.type_coerce(sa.func.likelihood(condition, sa.literal_column(str(_RARE))), sa.Boolean())
