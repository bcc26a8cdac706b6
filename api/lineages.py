"""Provenance manifests of jobs, read from Prefect's artifacts, and those of their ancestor jobs."""

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
"""Maximum number of ancestors in one response."""


class Lineages(Protocol):
    """The interface through which routes read provenance manifests; tests use a fake."""

    async def of(self, jobs: Sequence[UUID]) -> dict[UUID, Lineage]:
        """Return the manifests of up to `MAX_ANCESTORS` jobs; jobs without a manifest are left out."""
        ...


class PrefectLineages:
    """Provenance manifests stored as artifacts on a Prefect server."""

    def __init__(self, connection: "Callable[[], Awaitable[PrefectClient]]") -> None:
        """
        Use a shared connection.

        Args:
            connection: returns the Prefect client, opening it on first use.
        """
        self._connection = connection

    async def of(self, jobs: Sequence[UUID]) -> dict[UUID, Lineage]:
        """Return the manifests of jobs."""
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
        for note in notes:  # a restarted run has several; the newest comes last
            try:
                read = Lineage.model_validate(read_data(note))
            except ValidationError:  # an artifact with this key that the flow did not write
                continue
            if note.flow_run_id == read.job:
                found[read.job] = read
        return found


@dataclass(frozen=True, slots=True)
class Ancestor:
    """
    A job that another job is derived from, directly or indirectly.

    Attributes:
        job_id:  its id.
        depth:   distance in generations: 1 for a parent.
        job:     the job; None if it does not exist or the caller may not see it.
        lineage: its own manifest; None if it has none.
    """

    job: UUID
    depth: int
    run: Run | None
    lineage: Lineage | None


async def ancestors(
    lineage: Lineage, depth: int, runs: Runs, lineages: Lineages
) -> tuple[list[Ancestor], bool]:
    """
    Return a job's ancestors, breadth first.

    Args:
        lineage:  the job's manifest.
        depth:    maximum distance in generations.
        jobs:     the jobs that the caller may see.
        lineages: the manifests of jobs.

    Returns:
        The ancestors, each once, nearest first, at most `MAX_ANCESTORS`; and whether there are more.
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
        # follow a child job to its parent, but not on to the parent's other children
        ways = [(one, level[job] != "part-of") for job, one in known.items()]
        more |= any(one.parts_left_out and parts for one, parts in ways)
        level = {job: how for one, parts in ways for job, how in _behind(one, parts).items()}
    return found, more or any(job not in seen for job in level)


def _behind(one: Lineage, parts: bool = True) -> dict[UUID, str]:
    """Return the jobs that a job is derived from (parents, children, inputs), with the kind of relation."""
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
