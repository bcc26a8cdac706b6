"""The cache of this machine: artefacts over its quota, and what dead processes left half-made."""

from collections.abc import Iterator
from typing import Final

from flows.sweeps.look import Deed, Look
from tasks.artefacts import artefacts

OVER_QUOTA: Final = "Artefact was over the cache's quota"
LEFT: Final = "Left half-made in the cache"


def tidy_cache(look: Look) -> Iterator[Deed]:
    """Remove the least recently used above the quota, then leftovers; what is in use stays."""
    cache = artefacts()
    for gone in cache.remove_surplus(dry_run=look.dry_run):
        yield Deed(OVER_QUOTA, gone.name, gone.size)
    for gone in cache.remove_leftovers(dry_run=look.dry_run):
        yield Deed(LEFT, gone.name, gone.size)
