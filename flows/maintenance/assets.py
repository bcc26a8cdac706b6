"""Maintenance task: delete assets that were never uploaded, are incomplete, or are past their retention."""

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Final

from flows.maintenance.context import ABANDONED_AFTER, MAX_ITEMS_PER_RUN, SweepAction, SweepContext
from flows.maintenance.references import referenced_assets
from tasks.catalog.assets import ASSETS_PREFIX, delete_asset
from tasks.storage.home_store import home_store
from tasks.storage.object_store import ObjectInfo

NEVER_UPLOADED: Final = "Asset never uploaded"
"""Kind of action: an announced asset without data was deleted."""
INCOMPLETE_ASSET: Final = "Incomplete asset"
"""Kind of action: an incomplete asset was deleted."""
OLD_ASSET: Final = "Asset past its retention"
"""Kind of action: an asset past its retention was deleted."""

_ASSET_KEY = re.compile(rf"{re.escape(ASSETS_PREFIX)}([A-Za-z0-9_-]{{1,64}})/(data|asset\.json)")


@dataclass(frozen=True, slots=True)
class StoredAsset:
    """An asset in the store: its data object and its description object."""

    asset: str
    data: ObjectInfo | None = None
    note: ObjectInfo | None = None


def group_by_asset(objects: Iterable[ObjectInfo]) -> Iterator[StoredAsset]:
    """
    Group the objects of each asset.

    Args:
        objects: objects of the system's own store, ordered by key.
    """
    current: StoredAsset | None = None
    for stored in objects:
        if not (match := _ASSET_KEY.fullmatch(stored.key)):
            continue
        asset, part = match.groups()
        if current is None or current.asset != asset:
            if current is not None:
                yield current
            current = StoredAsset(asset)
        current = replace(current, data=stored) if part == "data" else replace(current, note=stored)
    if current is not None:
        yield current


def removal_reason(
    stored: StoredAsset, referenced: Container[str], now: datetime, cutoff: datetime | None
) -> str | None:
    """
    Return the reason why an asset is to be deleted; None: it is kept.

    Args:
        stored:     asset.
        referenced: ids of assets that unfinished jobs use.
        now:        current time.
        cutoff:     assets uploaded earlier are past their retention; None: assets are kept forever.
    """
    if stored.data is None:
        # the upload link has expired by then
        return NEVER_UPLOADED if stored.note and now - stored.note.modified > ABANDONED_AFTER else None
    if stored.asset in referenced:
        return None
    if stored.note is None:
        return INCOMPLETE_ASSET if now - stored.data.modified > ABANDONED_AFTER else None
    return OLD_ASSET if cutoff is not None and stored.data.modified < cutoff else None


def delete_assets(context: SweepContext) -> Iterator[SweepAction]:
    """Delete the assets and yield one action per asset."""
    cutoff = context.cutoff(context.retention.assets_days)
    referenced = {asset for run in context.unfinished for asset in referenced_assets(run.parameters)}
    candidates = (
        (upload, removal_reason(upload, referenced, context.now, cutoff))
        for upload in group_by_asset(home_store().list(ASSETS_PREFIX))
    )
    for upload, reason in list(
        islice(((upload, reason) for upload, reason in candidates if reason), MAX_ITEMS_PER_RUN)
    ):
        if not context.dry_run:
            delete_asset(upload.asset)
        yield SweepAction(reason, upload.asset, upload.data.size if upload.data else 0)
