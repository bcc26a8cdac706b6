"""
Maintenance task: delete results, their index and batch rows past their retention from the system's own store.

Objects in clients' buckets are never deleted.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Final

from flows.maintenance.context import MAX_ITEMS_PER_RUN, SweepAction, SweepContext
from tasks.catalog.fingerprint_index import FINGERPRINTS_PREFIX
from tasks.catalog.output_index import INDEX_PREFIX
from tasks.catalog.stored_results import OUTPUTS_PREFIX
from tasks.storage.home_store import home_store
from tasks.storage.json_lines import BATCHES_PREFIX
from tasks.storage.object_store import ObjectInfo

RESULT_GRACE_PERIOD: Final = timedelta(days=1)
"""A result is stored before its job ends, and a restarted job uses it again."""
OLD_RESULT: Final = "Result past its retention"
"""Kind of action: a result was deleted."""
_RESULT_KEY = re.compile(
    rf"{re.escape(OUTPUTS_PREFIX)}[0-9a-f]{{32}}/[^/]+|{re.escape(BATCHES_PREFIX)}[0-9a-f-]{{36}}\.jsonl"
    rf"|{re.escape(INDEX_PREFIX)}[^/]+/[^/]+/[^/]+|{re.escape(FINGERPRINTS_PREFIX)}[^/]+"
)


def expired_results(objects: Iterable[ObjectInfo], cutoff: datetime) -> Iterator[ObjectInfo]:
    """
    Yield the results that are past their retention.

    Args:
        objects: objects of the system's own store.
        cutoff:  results of jobs that ended earlier are past their retention.
    """
    limit = cutoff - RESULT_GRACE_PERIOD
    return (found for found in objects if _RESULT_KEY.fullmatch(found.key) and found.modified < limit)


def delete_expired_results(context: SweepContext) -> Iterator[SweepAction]:
    """Delete the results and yield one action per object."""
    cutoff = context.cutoff(context.retention.results_days)
    if cutoff is None:
        return
    store = home_store()
    stored = chain(
        store.list(OUTPUTS_PREFIX),
        store.list(BATCHES_PREFIX),
        store.list(INDEX_PREFIX),
        store.list(FINGERPRINTS_PREFIX),
    )
    for result in list(islice(expired_results(stored, cutoff), MAX_ITEMS_PER_RUN)):
        if not context.dry_run:
            store.delete(result.key)
        yield SweepAction(OLD_RESULT, result.key, result.size)
