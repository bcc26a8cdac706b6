"""Maintenance task: evict cache entries over the quota, and incomplete entries left by dead processes."""

from collections.abc import Iterator
from typing import Final

from flows.maintenance.context import SweepAction, SweepContext
from tasks.cache.artefacts import artefact_cache

OVER_QUOTA: Final = "Cache entry over the quota"
"""Kind of action: a cache entry was evicted."""
INCOMPLETE_ENTRY: Final = "Incomplete cache entry"
"""Kind of action: an incomplete cache entry was deleted."""


def evict_cache_entries(context: SweepContext) -> Iterator[SweepAction]:
    """Evict the least recently used entries over the quota, then incomplete ones; entries in use are kept."""
    cache = artefact_cache()
    for entry in cache.remove_surplus(dry_run=context.dry_run):
        yield SweepAction(OVER_QUOTA, entry.name, entry.size)
    for entry in cache.remove_leftovers(dry_run=context.dry_run):
        yield SweepAction(INCOMPLETE_ENTRY, entry.name, entry.size)
