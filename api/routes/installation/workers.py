"""Route for the workers and what they do."""

from asyncio import gather
from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.auth.api_keys import READ
from api.dependencies import JobsDep, WorkersDep
from api.errors import Problem
from api.jobs.model import JobStore
from api.orchestrator.workers import WorkerProcess, WorkerState

router = APIRouter(tags=["workers"])


class WorkerProcessView(BaseModel):
    """A process of a worker, which runs one job at a time."""

    number: int
    gpu: str = Field(description="GPU of the process, or `cpu`.")
    state: str = Field(description="`starting`, `idle`, `busy`, `ending` or `gone`.")
    job: UUID | None = Field(
        description="Job that it runs. Null if it runs none, one of another tenant, or a maintenance task."
    )
    models: list[str] = Field(description="Loaded models.")
    rss_bytes: int = Field(description="Memory of the process.")
    device_bytes: int = Field(description="Memory on its GPU.")
    runs: int = Field(description="Runs that it has executed.")
    restarts: int = Field(description="How often the process was replaced.")


class WorkerView(BaseModel):
    """A worker."""

    name: str
    pool: str = Field(description="Work pool.")
    online: bool = Field(description="Whether its heartbeats arrive.")
    heartbeat_at: datetime | None = Field(description="Time of the last heartbeat.")
    reported_at: datetime | None = Field(
        description="Time at which it reported `processes`; null for workers that are offline or of another"
        " type."
    )
    processes: list[WorkerProcessView]


class WorkersView(BaseModel):
    """The workers of all work pools."""

    workers: list[WorkerView]


@router.get("/v1/workers", dependencies=[READ])
async def read_workers(workers: WorkersDep, jobs: JobsDep) -> WorkersView:
    """Return the workers with state, loaded models, memory and current job of their processes."""
    states = await workers.list_workers()
    running = {process.job for state in states for process in state.processes if process.job}
    seen = dict(zip(running, await gather(*(_may_see(jobs, job) for job in running)), strict=True))
    return WorkersView(workers=[_view(state, {job for job in running if seen[job]}) for state in states])


async def _may_see(jobs: JobStore, job: UUID) -> bool:
    try:
        await jobs.read(job)
    except Problem as problem:
        if problem.code != "not_found":
            raise
        return False
    return True


def _view(state: WorkerState, visible: set[UUID]) -> WorkerView:
    return WorkerView(
        name=state.name,
        pool=state.pool,
        online=state.online,
        heartbeat_at=state.heartbeat_at,
        reported_at=state.reported_at,
        processes=[_process_view(process, visible) for process in state.processes],
    )


def _process_view(process: WorkerProcess, visible: set[UUID]) -> WorkerProcessView:
    return WorkerProcessView(
        number=process.number,
        gpu=process.gpu,
        state=process.state,
        job=process.job if process.job in visible else None,
        models=list(process.models),
        rss_bytes=process.rss_bytes,
        device_bytes=process.device_bytes,
        runs=process.runs,
        restarts=process.restarts,
    )
