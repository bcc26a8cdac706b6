"""Stores of tests without a Prefect server: workers in a list, and jobs without pictures."""

from uuid import UUID

from api.orchestrator.workers import WorkerState


class FakeWorkers:
    """Workers in a list, for GET /v1/workers."""

    def __init__(self, *states: WorkerState) -> None:
        self.states = list(states)

    async def list_workers(self) -> list[WorkerState]:
        return self.states


class NoThumbnails:
    async def read(self, job_id: UUID) -> None:
        return None
