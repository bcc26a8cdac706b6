"""Maintenance task: delete assets that were never uploaded, are incomplete, or are past their retention."""

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Final

from flows.sweeps.look import LEFTOVER, MOST, Deed, Look
from flows.sweeps.named import assets_in
from tasks.assets import ASSETS, delete_asset
from tasks.objects import ObjectInfo
from tasks.storage import home_store

NEVER_SENT: Final = "Asset never uploaded"
"""Kind of action: an announced asset without data was deleted."""
HALF_WRITTEN: Final = "Incomplete asset"
"""Kind of action: an incomplete asset was deleted."""
OLD_ASSET: Final = "Asset past its retention"
"""Kind of action: an asset past its retention was deleted."""

_KEY = re.compile(rf"{re.escape(ASSETS)}([A-Za-z0-9_-]{{1,64}})/(data|asset\.json)")


@dataclass(frozen=True, slots=True)
class Upload:
    """An asset in the store: its data object and its description object."""

    asset: str
    data: ObjectInfo | None = None
    note: ObjectInfo | None = None


def uploads(objects: Iterable[ObjectInfo]) -> Iterator[Upload]:
    """
    Group the objects of each asset.

    Args:
        objects: objects of the system's own store, ordered by key.
    """
    current: Upload | None = None
    for found in objects:
        if not (match := _KEY.fullmatch(found.key)):
            continue
        asset, part = match.groups()
        if current is None or current.asset != asset:
            if current is not None:
                yield current
            current = Upload(asset)
        current = replace(current, data=found) if part == "data" else replace(current, note=found)
    if current is not None:
        yield current


def why(upload: Upload, needed: Container[str], now: datetime, before: datetime | None) -> str | None:
    """
    Return the reason why an asset is to be deleted; None: it is kept.

    Args:
        stored:     asset.
        referenced: ids of assets that unfinished jobs use.
        now:        current time.
        cutoff:     assets uploaded earlier are past their retention; None: assets are kept forever.
    """
    if upload.data is None:
        # the upload link has expired by then
        return NEVER_SENT if upload.note and now - upload.note.modified > LEFTOVER else None
    if upload.asset in needed:
        return None
    if upload.note is None:
        return HALF_WRITTEN if now - upload.data.modified > LEFTOVER else None
    return OLD_ASSET if before is not None and upload.data.modified < before else None


def remove_assets(look: Look) -> Iterator[Deed]:
    """Delete the assets and yield one action per asset."""
    before = look.before(look.retention.assets_days)
    needed = {asset for run in look.unfinished for asset in assets_in(run.parameters)}
    found = ((upload, why(upload, needed, look.now, before)) for upload in uploads(home_store().list(ASSETS)))
    for upload, reason in list(islice(((upload, reason) for upload, reason in found if reason), MOST)):
        if not look.dry_run:
            delete_asset(upload.asset)
        yield Deed(reason, upload.asset, upload.data.size if upload.data else 0)
