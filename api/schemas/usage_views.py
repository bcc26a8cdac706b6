"""Query and answer of the usage route: usage of jobs in groups, with costs."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from api.errors import Problem
from flows.schemas.base import PhaseTimes
from flows.schemas.control import Tenant
from tasks.catalog.usage_ledger import UsageSum, UsageTally
from tasks.settings.usage import UsageSettings

Group = Literal["day", "tenant", "batch", "type", "engine"]
MAX_DAYS: Final = 400
_DEFAULT_DAYS: Final = 30
GroupValues = tuple[str | None, ...]


def _split(value: object) -> object:
    """Accept `a,b` beside repeated parameters."""
    if not isinstance(value, list):
        return value
    return [part for text in value for part in str(text).split(",")]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


class UsageQuery(BaseModel):
    """Days, groups, filters and pagination."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    first: date | None = Field(
        default=None, alias="from", description="First day, in UTC. Default: 29 days before the last."
    )
    to: date | None = Field(default=None, description="Last day, included. Default: today, in UTC.")
    group_by: Annotated[list[Group], BeforeValidator(_split)] = Field(
        default=["tenant"],
        min_length=1,
        max_length=5,
        description="What a row is a sum of; several, with commas or repeated, for combinations.",
    )
    tenant: Tenant | None = Field(default=None, description="Only this tenant.")
    batch: UUID | None = Field(default=None, description="Only this batch or pipeline with its child jobs.")
    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, max_length=2000, description="`next_cursor` of the last page.")

    @model_validator(mode="after")
    def _check_days(self) -> Self:
        first, last = self.days
        if first > last:
            raise ValueError("from is after to")
        if (last - first).days >= MAX_DAYS:
            raise ValueError(f"at most {MAX_DAYS} days; ask for the range in parts")
        return self

    @property
    def days(self) -> tuple[date, date]:
        """First and last day."""
        last = self.to or datetime.now(UTC).date()
        return self.first or last - timedelta(days=_DEFAULT_DAYS - 1), last


class UsageFigures(BaseModel):
    """CPU time, GPU time and stored bytes of attempts of runs."""

    attempts: dict[str, int] = Field(
        description="Number of attempts by result: succeeded, failed, canceled, returned (queued again),"
        " lost, unfinished (running, or their worker ended)."
    )
    seconds: float = Field(description="Duration of the attempts.")
    cpu_s: float = Field(description="CPU time in seconds.")
    device_s: float = Field(description="Seconds on a GPU.")
    stored_bytes: int = Field(description="Size of the outputs that were stored.")
    phases: dict[str, PhaseTimes] = Field(description="CPU and GPU time per phase.")
    cost: float | None = Field(description="Costs at the present prices; null without prices.")


class UsageRow(UsageFigures):
    """The figures of a group."""

    group: dict[Group, str | None] = Field(description="What the row is a sum of; null: none, or unknown.")


class UsageView(BaseModel):
    """Usage of jobs in groups."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    first: date = Field(alias="from", description="First day.")
    to: date = Field(description="Last day, included.")
    currency: str | None = Field(description="Currency of the costs; null if the settings name none.")
    rows: list[UsageRow] = Field(description="Sorted by group.")
    total: UsageFigures = Field(description="All rows, of all pages.")
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null at the end.")


def figures(used: UsageSum, prices: UsageSettings) -> dict[str, Any]:
    """Return the fields of `UsageFigures` for a sum."""
    total = used.total
    cost = prices.cost(total.device_s, total.cpu_s, used.stored_bytes)
    return {
        "attempts": dict(sorted(used.attempts.items())),
        "seconds": round(used.seconds, 3),
        "cpu_s": round(total.cpu_s, 3),
        "device_s": round(total.device_s, 3),
        "stored_bytes": used.stored_bytes,
        "phases": {
            name: PhaseTimes(cpu_s=round(phase.cpu_s, 3), device_s=round(phase.device_s, 3))
            for name, phase in sorted(used.phases.items())
        },
        "cost": None if cost is None else round(cost, 6),
    }


def sort_key(values: GroupValues) -> tuple[tuple[bool, str], ...]:
    """Return the key by which groups are sorted: missing values first."""
    return tuple((value is not None, value or "") for value in values)


def usage_page(query: UsageQuery, groups: Mapping[GroupValues, UsageSum], prices: UsageSettings) -> UsageView:
    """
    Return a page of the groups.

    Args:
        query:  the query.
        groups: the sum of each group, by the values of `query.group_by`.
        prices: prices for the costs.
    """
    ordered = sorted(groups, key=sort_key)
    if query.cursor:
        after = sort_key(_decode(query.cursor, len(query.group_by)))
        ordered = [values for values in ordered if sort_key(values) > after]
    page, total = ordered[: query.limit], UsageTally()
    for used in groups.values():
        total.add(used)
    first, last = query.days
    rows = [
        UsageRow(group=dict(zip(query.group_by, values, strict=True)), **figures(groups[values], prices))
        for values in page
    ]
    fields = {
        "from": first,
        "to": last,
        "currency": prices.currency or None,
        "rows": rows,
        "total": UsageFigures(**figures(total.total(), prices)),
        "next_cursor": _encode(page[-1]) if len(ordered) > len(page) else None,
    }
    return UsageView.model_validate(fields)


def _encode(values: GroupValues) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _decode(cursor: str, length: int) -> GroupValues:
    try:
        values: Any = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not _are_values(values, length):  # pyright: ignore[reportUnknownArgumentType]
        raise Problem("invalid_input", "Invalid cursor. Send `next_cursor` of an earlier page.")
    return tuple(values)  # pyright: ignore[reportUnknownArgumentType]


def _are_values(values: list[Any], length: int) -> bool:
    return len(values) == length and all(value is None or isinstance(value, str) for value in values)
