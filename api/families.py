"""Cancellation of a batch or pipeline together with its unfinished child jobs."""

from uuid import UUID

from api.runs import UNFINISHED_STATUSES, Job, JobFilter, JobStore, wait_until_final

_STOP_WAIT_S = 3.0
_PAGE_SIZE = 200


async def cancel_with_children(jobs: JobStore, job_id: UUID, reason: str) -> Job:
    """
    Request cancellation of a batch or pipeline and of its child jobs.

    Args:
        jobs:   the job store.
        job_id: the parent job.
        reason: cancelled or timed_out.

    Returns:
        The parent job as last read; it is waited for up to 3 seconds.
    """
    await jobs.cancel(job_id, reason)
    await _cancel_children(jobs, job_id, reason)
    job = await wait_until_final(jobs, job_id, _STOP_WAIT_S)
    # children created while the parent was stopping; a maintenance task cancels any later ones
    await _cancel_children(jobs, job_id, reason)
    return job


async def _cancel_children(jobs: JobStore, job_id: UUID, reason: str) -> None:
    cursor: str | None = None
    while True:
        page = await jobs.find(
            JobFilter(part_of=job_id, statuses=UNFINISHED_STATUSES, limit=_PAGE_SIZE, cursor=cursor)
        )
        for child in page.jobs:
            await jobs.cancel(child.id, reason)
        cursor = page.next
        if cursor is None:
            return
