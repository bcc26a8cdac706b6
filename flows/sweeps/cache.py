"""Maintenance task: evict cache entries over the quota, and incomplete entries left by dead processes."""

from collections.abc import Iterator
from typing import Final

from flows.sweeps.look import Deed, Look
from tasks.artefacts import artefacts

OVER_QUOTA: Final = "Cache entry over the quota"
"""Kind of action: a cache entry was evicted."""
LEFT: Final = "Incomplete cache entry"
"""Kind of action: an incomplete cache entry was deleted."""


def tidy_cache(look: Look) -> Iterator[Deed]:
    """Evict the least recently used entries over the quota, then incomplete ones; entries in use are kept."""
    cache = artefacts()
    for gone in cache.remove_surplus(dry_run=look.dry_run):
        yield Deed(OVER_QUOTA, gone.name, gone.size)
    for gone in cache.remove_leftovers(dry_run=look.dry_run):
        yield Deed(LEFT, gone.name, gone.size)
