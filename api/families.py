"""A batch or pipeline is stopped with all that it has made and that is not finished."""

from uuid import UUID

from api.runs import UNFINISHED, Run, Runs, Wanted, wait_until_final

_SETTLE_S = 3.0
_PAGE = 200


async def cancel_family(runs: Runs, job_id: UUID, word: str) -> Run:
    """
    Ask a job to stop that makes others, and these too.

    Args:
        runs:   where.
        job_id: the job that makes others.
        word:   why, in the owner's words.

    Returns:
        The job, as it was last seen.
    """
    await runs.cancel(job_id, word)
    await _cancel_parts(runs, job_id, word)
    run = await wait_until_final(runs, job_id, _SETTLE_S)
    await _cancel_parts(runs, job_id, word)  # made while it was being stopped; the janitor finds later ones
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
