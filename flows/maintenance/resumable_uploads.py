"""Maintenance task: delete resumable uploads that have expired, and the records of complete ones."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from flows.maintenance.context import MAX_ITEMS_PER_RUN, SweepAction, SweepContext
from tasks.catalog.resumable_uploads import ResumableUpload, delete_upload, list_uploads, stored_bytes
from tasks.errors import UploadMissing

EXPIRED_UPLOAD: Final = "Expired upload"
"""Kind of action: an upload that was not completed in time was deleted."""


def delete_expired_uploads(context: SweepContext) -> Iterator[SweepAction]:
    """Delete the uploads and yield one action per unfinished upload; assets are not affected."""
    expired = (upload for upload in list_uploads() if upload.expires_at <= context.now)
    for upload in list(islice(expired, MAX_ITEMS_PER_RUN)):
        size = _stored(upload)
        if not context.dry_run:
            delete_upload(upload)
        if not upload.is_complete:
            yield SweepAction(EXPIRED_UPLOAD, upload.id, size)


def _stored(upload: ResumableUpload) -> int:
    try:
        return stored_bytes(upload)
    except UploadMissing:  # its data was deleted, its record was not
        return 0
