"""Where jobs' outputs came from, as the runs wrote it down, and that of the jobs that they build on."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

from pydantic import ValidationError

from api.problems import Problem
from api.reports import read_data
from api.runs import Run, Runs
from flows.lineage_schemas import LINEAGE, Lineage
from flows.prefect_state.queries import read_any_of_async

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Artifact

MOST: Final = 100
"""Jobs that one answer looks back at."""


class Lineages(Protocol):
    """What the routes need; tests hand in a fake."""

    async def of(self, jobs: Sequence[UUID]) -> dict[UUID, Lineage]:
        """Return what jobs wrote down; those that wrote nothing are left out. At most `MOST` at a time."""
        ...


class PrefectLineages:
    """Lineages on a Prefect server."""

    def __init__(self, connection: "Callable[[], Awaitable[PrefectClient]]") -> None:
        """
        Use a connection of somebody else's.

        Args:
            connection: opens it at its first use.
        """
        self._connection = connection

    async def of(self, jobs: Sequence[UUID]) -> dict[UUID, Lineage]:
        """Return what jobs wrote down."""
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

        if not jobs:
            return {}
        client = await self._connection()

        async def ask(chunk: list[UUID], limit: int, offset: int) -> "list[Artifact]":
            wanted = ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=chunk), key=ArtifactFilterKey(any_=[LINEAGE])
            )
            return await client.read_artifacts(artifact_filter=wanted, limit=limit, offset=offset)

        found: dict[UUID, Lineage] = {}
        notes = await read_any_of_async(jobs, ask, order=lambda note: str(note.updated))
        for note in notes:  # a run that began again wrote another
            try:
                read = Lineage.model_validate(read_data(note))
            except ValidationError:  # somebody else's artifact under our key
                continue
            if note.flow_run_id == read.job:
                found[read.job] = read
        return found


@dataclass(frozen=True, slots=True)
class Ancestor:
    """
    A job that another one builds on, directly or not.

    Attributes:
        job:     its id.
        depth:   how far back: 1 for a parent.
        run:     the job; None when there is none that the caller may see.
        lineage: where its own output came from; None when that is not known.
    """

    job: UUID
    depth: int
    run: Run | None
    lineage: Lineage | None


async def ancestors(
    lineage: Lineage, depth: int, runs: Runs, lineages: Lineages
) -> tuple[list[Ancestor], bool]:
    """
    Follow a job's parents.

    Args:
        lineage:  of the job.
        depth:    how far back.
        runs:     the jobs that the caller may see.
        lineages: what they wrote down.

    Returns:
        The ancestors, each once, the nearest first; and whether there are more than were looked at.
    """
    found: list[Ancestor] = []
    seen, level = {lineage.job}, _behind(lineage)
    more = lineage.parts_left_out > 0
    for distance in range(1, depth + 1):
        wanted = [job for job in level if job not in seen]
        now = wanted[: MOST - len(found)]
        seen.update(now)
        looked = await asyncio.gather(*(_visible(runs, job) for job in now))
        known = await lineages.of([run.id for run in looked if run is not None])
        found += [
            Ancestor(job, distance, run, known.get(job) if run else None)
            for job, run in zip(now, looked, strict=True)
        ]
        if len(now) < len(wanted):
            return found, True
        # from a part back to the whole, but not on to the parts beside it
        ways = [(one, level[job] != "part-of") for job, one in known.items()]
        more |= any(one.parts_left_out and parts for one, parts in ways)
        level = {job: how for one, parts in ways for job, how in _behind(one, parts).items()}
    return found, more or any(job not in seen for job in level)


def _behind(one: Lineage, parts: bool = True) -> dict[UUID, str]:
    """Return the jobs that one builds on, and how."""
    wholes = {parent.job: parent.how for parent in one.parents if parent.how == "part-of"}
    inputs = {parent.job: parent.how for parent in one.parents if parent.how == "input"}
    return wholes | {part.job: "part" for part in one.parts if parts} | inputs


async def _visible(runs: Runs, job: UUID) -> Run | None:
    try:
        return await runs.read(job)
    except Problem as problem:
        if problem.code != "not_found":
            raise
        return None
