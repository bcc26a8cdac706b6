"""Cancellation of a batch or pipeline together with its unfinished child jobs."""

from uuid import UUID

from api.runs import UNFINISHED, Run, Runs, Wanted, wait_until_final

_SETTLE_S = 3.0
_PAGE = 200


async def cancel_family(runs: Runs, job_id: UUID, word: str) -> Run:
    """
    Request cancellation of a batch or pipeline and of its child jobs.

    Args:
        jobs:   the job store.
        job_id: the parent job.
        reason: cancelled or timed_out.

    Returns:
        The parent job as last read; it is waited for up to 3 seconds.
    """
    await runs.cancel(job_id, word)
    await _cancel_parts(runs, job_id, word)
    run = await wait_until_final(runs, job_id, _SETTLE_S)
    # children created while the parent was stopping; a maintenance task cancels any later ones
    await _cancel_parts(runs, job_id, word)
    return run


async def _cancel_parts(runs: Runs, job_id: UUID, word: str) -> None:
    cursor: str | None = None
    while True:
        page = await runs.find(Wanted(part_of=job_id, statuses=UNFINISHED, limit=_PAGE, cursor=cursor))
        for part in page.runs:
            await runs.cancel(part.id, word)
        cursor = page.next
        if cursor is None:
            return
