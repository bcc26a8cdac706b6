"""Provenance manifests of jobs, read from Prefect's artifacts, and those of their ancestor jobs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

from pydantic import ValidationError

from api.problems import Problem
from api.reports import read_data
from api.runs import Job, JobStore
from flows.lineage_schemas import LINEAGE_KEY, Lineage
from flows.prefect_state.queries import read_any_of_async

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Artifact

MAX_ANCESTORS: Final = 100
"""Maximum number of ancestors in one response."""


class LineageStore(Protocol):
    """The interface through which routes read provenance manifests; tests use a fake."""

    async def read_many(self, job_ids: Sequence[UUID]) -> dict[UUID, Lineage]:
        """Return the manifests of up to `MAX_ANCESTORS` jobs; jobs without a manifest are left out."""
        ...


class PrefectLineageStore:
    """Provenance manifests stored as artifacts on a Prefect server."""

    def __init__(self, connection: "Callable[[], Awaitable[PrefectClient]]") -> None:
        """
        Use a shared connection.

        Args:
            connection: returns the Prefect client, opening it on first use.
        """
        self._connection = connection

    async def read_many(self, job_ids: Sequence[UUID]) -> dict[UUID, Lineage]:
        """Return the manifests of jobs."""
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

        if not job_ids:
            return {}
        client = await self._connection()

        async def read_page(chunk: list[UUID], limit: int, offset: int) -> "list[Artifact]":
            artifact_filter = ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=chunk), key=ArtifactFilterKey(any_=[LINEAGE_KEY])
            )
            return await client.read_artifacts(artifact_filter=artifact_filter, limit=limit, offset=offset)

        lineages: dict[UUID, Lineage] = {}
        artifacts = await read_any_of_async(job_ids, read_page, order=lambda note: str(note.updated))
        for artifact in artifacts:  # a restarted run has several; the newest comes last
            try:
                lineage = Lineage.model_validate(read_data(artifact))
            except ValidationError:  # an artifact with this key that the flow did not write
                continue
            if artifact.flow_run_id == lineage.job:
                lineages[lineage.job] = lineage
        return lineages


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

    job_id: UUID
    depth: int
    job: Job | None
    lineage: Lineage | None


async def collect_ancestors(
    lineage: Lineage, depth: int, jobs: JobStore, lineages: LineageStore
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
    collected: list[Ancestor] = []
    seen, level = {lineage.job}, _direct_ancestors(lineage)
    has_more = lineage.parts_left_out > 0
    for distance in range(1, depth + 1):
        unseen = [job for job in level if job not in seen]
        batch = unseen[: MAX_ANCESTORS - len(collected)]
        seen.update(batch)
        visible_jobs = await asyncio.gather(*(_read_if_visible(jobs, job) for job in batch))
        lineages_by_job = await lineages.read_many([run.id for run in visible_jobs if run is not None])
        collected += [
            Ancestor(job, distance, run, lineages_by_job.get(job) if run else None)
            for job, run in zip(batch, visible_jobs, strict=True)
        ]
        if len(batch) < len(unseen):
            return collected, True
        # follow a child job to its parent, but not on to the parent's other children
        followed = [(one, level[job] != "part-of") for job, one in lineages_by_job.items()]
        has_more |= any(one.parts_left_out and parts for one, parts in followed)
        level = {job: how for one, parts in followed for job, how in _direct_ancestors(one, parts).items()}
    return collected, has_more or any(job not in seen for job in level)


def _direct_ancestors(lineage: Lineage, include_children: bool = True) -> dict[UUID, str]:
    """Return the jobs that a job is derived from (parents, children, inputs), with the kind of relation."""
    parents = {parent.job: parent.how for parent in lineage.parents if parent.how == "part-of"}
    inputs = {parent.job: parent.how for parent in lineage.parents if parent.how == "input"}
    return parents | {part.job: "part" for part in lineage.parts if include_children} | inputs


async def _read_if_visible(jobs: JobStore, job_id: UUID) -> Job | None:
    try:
        return await jobs.read(job_id)
    except Problem as problem:
        if problem.code != "not_found":
            raise
        return None
