"""Route for the usage of jobs, and its costs."""

from asyncio import to_thread
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request

from api.auth.api_keys import READ, caller_tenant
from api.schemas.usage_views import Group, GroupValues, UsageQuery, UsageView, usage_page
from tasks.catalog.usage_ledger import UsageKey, UsageSum, UsageTally, read_days
from tasks.settings import get_settings

router = APIRouter(tags=["usage"])

_VALUE_OF: Final[dict[Group, Callable[[date, UsageKey], str | None]]] = {
    "day": lambda day, _: day.isoformat(),
    "tenant": lambda _, key: key.tenant,
    "batch": lambda _, key: key.batch,
    "type": lambda _, key: key.type,
    "engine": lambda _, key: key.engine,
}


@router.get("/v1/usage", dependencies=[READ])
async def read_usage(request: Request, query: Annotated[UsageQuery, Query()]) -> UsageView:
    """
    Return CPU time, GPU time and stored bytes of jobs, in groups, with costs.

    A key with a tenant reads the usage of its tenant only.
    """
    groups = await to_thread(_sum_groups, query, caller_tenant(request))
    return usage_page(query, groups, get_settings().usage)


def _sum_groups(query: UsageQuery, own_tenant: str | None) -> dict[GroupValues, UsageSum]:
    """Sum the ledger; `own_tenant` None: all tenants."""
    groups: defaultdict[GroupValues, UsageTally] = defaultdict(UsageTally)
    batch = str(query.batch) if query.batch else None
    values_of = [_VALUE_OF[name] for name in query.group_by]
    for day, sums in read_days(*query.days):
        for key, used in sums.items():
            if own_tenant is not None and key.tenant != own_tenant:
                continue
            if query.tenant not in {None, key.tenant} or batch not in {None, key.batch}:
                continue
            groups[tuple([value_of(day, key) for value_of in values_of])].add(used)
    return {values: tally.total() for values, tally in groups.items()}
