"""
Maintenance task: delete results and batch rows past their retention from the system's own store.

Objects in clients' buckets are never deleted.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Final

from flows.sweeps.look import MOST, Deed, Look
from tasks.lines import BATCHES
from tasks.objects import ObjectInfo
from tasks.storage import home_store
from tasks.stored_results import OUTPUTS

GRACE: Final = timedelta(days=1)
"""A result is stored before its job ends, and a restarted job uses it again."""
OLD_RESULT: Final = "Result past its retention"
"""Kind of action: a result was deleted."""
_OURS = re.compile(rf"{re.escape(OUTPUTS)}[0-9a-f]{{32}}/[^/]+|{re.escape(BATCHES)}[0-9a-f-]{{36}}\.jsonl")


def past(objects: Iterable[ObjectInfo], before: datetime) -> Iterator[ObjectInfo]:
    """
    Yield the results that are past their retention.

    Args:
        objects: objects of the system's own store.
        cutoff:  results of jobs that ended earlier are past their retention.
    """
    limit = before - GRACE
    return (found for found in objects if _OURS.fullmatch(found.key) and found.modified < limit)


def remove_results(look: Look) -> Iterator[Deed]:
    """Delete the results and yield one action per object."""
    before = look.before(look.retention.results_days)
    if before is None:
        return
    store = home_store()
    kept = chain(store.list(OUTPUTS), store.list(BATCHES))
    for found in list(islice(past(kept, before), MOST)):
        if not look.dry_run:
            store.delete(found.key)
        yield Deed(OLD_RESULT, found.key, found.size)
