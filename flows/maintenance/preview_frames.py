"""Maintenance task: delete preview frames of jobs that ended without deleting theirs."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from flows.maintenance.context import ABANDONED_AFTER, MAX_ITEMS_PER_RUN, SweepAction, SweepContext
from tasks.catalog.preview_frames import list_preview_frames
from tasks.storage.home_store import home_store

ABANDONED_PREVIEW: Final = "Preview frame of an ended job"
"""Kind of action: a preview frame that no job has replaced for a day was deleted."""


def delete_abandoned_previews(context: SweepContext) -> Iterator[SweepAction]:
    """Delete the frames and yield one action per frame."""
    cutoff = context.now - ABANDONED_AFTER
    abandoned = (frame for frame in list_preview_frames() if frame.modified < cutoff)
    for frame in list(islice(abandoned, MAX_ITEMS_PER_RUN)):
        if not context.dry_run:
            home_store().delete(frame.key)
        yield SweepAction(ABANDONED_PREVIEW, frame.key, frame.size)
