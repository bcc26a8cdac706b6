"""Jobs as the API sees them, and the only door to Prefect."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from api.problems import Problem
from api.reports import Progress, read_progress
from flows.control import ENDED_AS, USUAL, Control, tags
from flows.outcome import FINAL, NOTES, JobError, Status, ended_as, error_of, result_of, status_of
from flows.registry import FLOWS, JOB_TYPES, JobType
from flows.schemas import Job

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

__all__ = ["FINAL", "Status"]

_CREATE_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Run:
    """One job."""

    id: UUID
    type: str
    status: Status
    created: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    progress: Progress = field(default_factory=Progress)
    result: Mapping[str, Any] | None = None
    error: JobError | None = None
    cancel_requested: bool = False
    ended_as: str | None = None
    """The word the owner used in the older API: cancelled or timed_out."""


class Runs(Protocol):
    """What the routes need of the job system; tests hand in a fake."""

    async def create(
        self, job_type: JobType, job: Job, key: str | None = None, control: Control = USUAL
    ) -> Run:
        """
        Queue a job and return at once.

        Args:
            job_type: its entry in the registry.
            job:      its parameters.
            key:      the caller's idempotency key; the same key and job give the same run.
            control:  how urgent, whose, how long.
        """
        ...

    async def read(self, job_id: UUID) -> Run:
        """Look a job up; a Problem `not_found` when there is none."""
        ...

    async def cancel(self, job_id: UUID, word: str = "cancelled") -> Run:
        """Ask a job to stop; a job that has ended stays as it is."""
        ...

    async def faults(self) -> dict[str, str | None]:
        """Say per part of the job system what is wrong with it, None when nothing is."""
        ...


async def wait_until_final(runs: Runs, job_id: UUID, limit_s: float) -> Run:
    """
    Wait until a job has ended.

    Args:
        runs:    where to ask.
        job_id:  the job.
        limit_s: longest wait in seconds.

    Returns:
        The job as it was last seen, ended or not.
    """
    deadline = time.monotonic() + limit_s
    pause = 0.1
    while (run := await runs.read(job_id)).status not in FINAL and time.monotonic() < deadline:
        await asyncio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * 1.5, 1.0)
    return run


class PrefectRuns:
    """Runs on a Prefect server. One per process: it keeps a connection and makes runs one at a time."""

    def __init__(self) -> None:
        self._creating = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._client: PrefectClient | None = None
        self._deployments: dict[str, UUID] = {}
        self._types: dict[UUID, str] = {}

    async def close(self) -> None:
        """Give the connection back."""
        await self._stack.aclose()

    async def create(
        self, job_type: JobType, job: Job, key: str | None = None, control: Control = USUAL
    ) -> Run:
        """Queue a job and return at once."""
        parameters = {"job": job.model_dump(mode="json", exclude_unset=True)}
        if wishes := control.model_dump(mode="json", exclude_defaults=True):
            parameters["control"] = wishes
        async with self._creating:  # SQLite refuses most of what arrives side by side
            made = await patiently(lambda: self._create(job_type, parameters, key, control))
        if key is not None and made.parameters != parameters:
            raise Problem("idempotency_mismatch", "This Idempotency-Key was used for a different request.")
        return Run(id=made.id, type=job_type.name, status=status_of(made), created=made.created)

    async def _create(
        self, job_type: JobType, parameters: dict[str, Any], key: str | None, control: Control
    ) -> "FlowRun":
        from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

        client = await self._open()
        deployment = await self._deployment(job_type)
        # its own retries sleep two seconds and more while the lock is held; ours are short
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            return await client.create_flow_run_from_deployment(
                deployment,
                parameters=parameters,
                idempotency_key=key,
                work_queue_name=control.priority,
                tags=tags(control),
            )

    async def read(self, job_id: UUID) -> Run:
        """Look a job up."""
        from prefect.exceptions import ObjectNotFound

        client = await self._open()
        try:
            found = await client.read_flow_run(job_id)
        except ObjectNotFound:
            raise _unknown() from None
        job_type = await self._type(found)
        notes = await self._notes(job_id)
        status, word = status_of(found), ended_as(found)
        return Run(
            id=found.id,
            type=job_type,
            status=status,
            created=found.created,
            started=found.start_time,
            ended=found.end_time,
            progress=read_progress(notes.get("progress")),
            result=result_of(status, notes),
            error=error_of(status, word, notes, found.state),
            cancel_requested=found.state_type == "CANCELLING",
            ended_as=word if status in {"canceled", "aborted"} else None,
        )

    async def cancel(self, job_id: UUID, word: str = "cancelled") -> Run:
        """Ask a job to stop."""
        from prefect.states import Cancelling

        run = await self.read(job_id)
        if run.status in FINAL or run.cancel_requested:
            return run
        client = await self._open()
        await client.update_flow_run_labels(job_id, {ENDED_AS: word})
        # the server turns this into Cancelled at once for a run that no worker has taken
        await client.set_flow_run_state(job_id, Cancelling())
        return await self.read(job_id)

    async def faults(self) -> dict[str, str | None]:
        """Say per part of the job system what is wrong with it."""
        try:
            client = await self._open()
            trouble = await client.api_healthcheck()
        except Problem as problem:
            return {"prefect": problem.detail}
        if trouble is not None:
            return {"prefect": "the Prefect server does not answer"}
        pools = sorted({job_type.pool for job_type in FLOWS.values()})
        return {"prefect": None} | {f"worker {pool}": await self._pool_fault(pool) for pool in pools}

    async def _pool_fault(self, pool: str) -> str | None:
        from prefect.exceptions import ObjectNotFound

        client = await self._open()
        try:
            workers = await client.read_workers_for_work_pool(pool)
        except ObjectNotFound:
            return f"work pool {pool} does not exist: run `musetalk deploy`"
        online = any(worker.status == "ONLINE" for worker in workers)
        return None if online else f"no worker of pool {pool} is online"

    async def _notes(self, job_id: UUID) -> dict[str, Any]:
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

        client = await self._open()
        wanted = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[job_id]),
            key=ArtifactFilterKey(any_=["progress", *NOTES]),
        )
        found = await client.read_artifacts(artifact_filter=wanted)
        found.sort(key=lambda note: str(note.updated))
        return {str(note.key): note for note in found}  # the newest of each

    async def _deployment(self, job_type: JobType) -> UUID:
        from prefect.exceptions import ObjectNotFound

        if job_type.name not in self._deployments:
            client = await self._open()
            try:
                found = await client.read_deployment_by_name(job_type.deployment)
            except ObjectNotFound:
                raise Problem(
                    "orchestrator_unavailable",
                    f"Deployment {job_type.deployment} is not on the Prefect server: run `musetalk deploy`.",
                ) from None
            self._deployments[job_type.name] = found.id
        return self._deployments[job_type.name]

    async def _type(self, found: "FlowRun") -> str:
        if found.flow_id not in self._types:
            client = await self._open()
            self._types[found.flow_id] = (await client.read_flow(found.flow_id)).name
        if self._types[found.flow_id] not in JOB_TYPES:
            raise _unknown()
        return self._types[found.flow_id]

    async def connection(self) -> "PrefectClient":
        """Return the connection to the server, opened at its first use."""
        return await self._open()

    async def _open(self) -> "PrefectClient":
        async with self._opening:
            if self._client is None:
                # half a second and more of imports: not in the event loop
                client = await asyncio.to_thread(_new_client)
                try:
                    self._client = await self._stack.enter_async_context(client)
                except Exception as error:
                    raise Problem(
                        "orchestrator_unavailable", "The Prefect server does not answer."
                    ) from error
            return self._client


def _new_client() -> "PrefectClient":
    from prefect.client.orchestration import get_client

    return get_client(sync_client=False)


async def patiently(create: Callable[[], Awaitable["FlowRun"]]) -> "FlowRun":
    """
    Make a run, however busy the server is.

    Args:
        create: makes the request; must be harmless to repeat.

    Raises:
        Problem: `orchestrator_unavailable`, when it did not answer for long.
    """
    import httpx
    from prefect.exceptions import PrefectHTTPStatusError

    deadline = time.monotonic() + _CREATE_LIMIT_S
    pause = 0.05
    while True:
        try:
            return await create()
        except PrefectHTTPStatusError as error:
            busy = error.response.status_code in {429, 502, 503}
            if not busy or time.monotonic() > deadline:
                raise Problem(
                    "orchestrator_unavailable", "The Prefect server did not take the job."
                ) from error
        except httpx.TransportError as error:
            if time.monotonic() > deadline:
                raise Problem("orchestrator_unavailable", "The Prefect server does not answer.") from error
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
        pause = min(pause * 2, 2.0)


def _unknown() -> Problem:
    return Problem("not_found", "Job not found")
