"""
Maintenance task: abort uploads to the system's own store that were interrupted.

They are multipart uploads in a bucket, or partial files in a folder. Those of resumable uploads are left to
`flows.maintenance.resumable_uploads`.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final

from flows.maintenance.context import ABANDONED_AFTER, MAX_ITEMS_PER_RUN, SweepAction, SweepContext
from tasks.catalog.resumable_uploads import list_uploads
from tasks.storage.home_store import home_store
from tasks.storage.object_store import PendingUpload

INTERRUPTED_UPLOAD: Final = "Interrupted upload"
"""Kind of action: an upload was aborted."""


def abandoned_uploads(uploads: Iterable[PendingUpload], now: datetime) -> Iterator[PendingUpload]:
    """
    Yield the uploads that started too long ago to be still in progress.

    Args:
        uploads: unfinished uploads of the system's own store.
        now:     current time.
    """
    return (upload for upload in uploads if now - upload.started_at > ABANDONED_AFTER)


def abort_abandoned_uploads(context: SweepContext) -> Iterator[SweepAction]:
    """Abort the uploads and yield one action per upload."""
    store = home_store()
    resumable = {upload.token for upload in list_uploads() if not upload.is_complete}
    abandoned = abandoned_uploads(store.pending_uploads(), context.now)
    others = (upload for upload in abandoned if upload.upload not in resumable)
    for upload in list(islice(others, MAX_ITEMS_PER_RUN)):
        size = store.pending_size(upload)
        if not context.dry_run:
            store.abort(upload)
        yield SweepAction(INTERRUPTED_UPLOAD, upload.key, size)
