"""Maintenance task: merge the ledger of usage day by day, and delete days past their retention."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from flows.maintenance.context import SweepAction, SweepContext, Throttle
from tasks.catalog.usage_ledger import delete_day, list_days, merge_day

MERGED_USAGE: Final = "Usage of a day merged"
"""Kind of action: the objects of a day were merged into one."""
OLD_USAGE: Final = "Usage past its retention"
"""Kind of action: the usage of a day was deleted."""
_WRITTEN_FOR: Final = timedelta(days=3)
"""Age of the days that workers may still write."""
_TIME_BUDGET_S: Final = 15.0


def tidy_usage(context: SweepContext) -> Iterator[SweepAction]:
    """Delete old days and merge ended ones, and yield one action per day that changed."""
    cutoff, throttle = context.cutoff(context.retention.usage_days), Throttle(_TIME_BUDGET_S)
    for day in list(list_days()):
        if throttle.is_spent:
            return
        is_old = cutoff is not None and day < cutoff.date()
        if not is_old and context.now.date() - day < _WRITTEN_FOR:
            return
        with throttle.throttled():
            count = 1 if context.dry_run and is_old else 0
            if not context.dry_run:
                count = delete_day(day) if is_old else merge_day(day)
        if count:
            yield SweepAction(OLD_USAGE if is_old else MERGED_USAGE, day.isoformat())
