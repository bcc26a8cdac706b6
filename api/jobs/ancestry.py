"""Ancestors of a job, collected from the provenance manifests of the jobs that it is derived from."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from api.errors import Problem
from api.jobs.model import Job, JobStore
from flows.schemas.lineage import Lineage

MAX_ANCESTORS: Final = 100
"""Maximum number of ancestors in one response."""


class LineageStore(Protocol):
    """The interface through which routes read provenance manifests; tests use a fake."""

    async def read_many(self, job_ids: Sequence[UUID]) -> dict[UUID, Lineage]:
        """Return the manifests of up to `MAX_ANCESTORS` jobs; jobs without a manifest are left out."""
        ...


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
