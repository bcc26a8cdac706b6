"""The job store on a Prefect server: create, cancel and remove jobs, which are flow runs there."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from api.errors import Problem
from api.jobs.model import DEFAULT_SUBMIT_OPTIONS, FINAL_STATUSES, Job, SubmitOptions
from api.orchestrator.job_reader import PrefectJobReader
from api.orchestrator.mapping import METADATA_LABEL_PREFIX, REMOVED_LABEL, TAG_PREFIX, to_job
from flows.prefect_state.labels import CREATED_BY_LABEL, RETRY_OF_LABEL
from flows.prefect_state.run_names import job_run_name, name_without_files
from flows.prefect_state.status import ClientMark
from flows.registry import FLOWS, JobType
from flows.schemas.base import JobParameters
from flows.schemas.control import ENDED_AS_LABEL, MARK_MESSAGE_LABEL, MARKED_AS_LABEL, tags_for
from flows.storage.job_access import ASSET_SCHEME
from musetalk_core.installation import command
from tasks.catalog.assets import find_asset_name
from tasks.tracing.spans import span
from tasks.tracing.traceparent import trace_labels

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_MAX_CONCURRENT_CREATES: Final = 4
"""More concurrent requests to one Prefect server do not create runs faster; reads keep free connections."""


class PrefectJobStore(PrefectJobReader):
    """
    The job store on a Prefect server; `PrefectJobReader` implements the reads.

    One per process: it holds the connection.
    """

    def __init__(self, on_created: Callable[[str], None] = lambda _: None) -> None:
        """
        Create a job store; connects on first use.

        Args:
            on_created: called with the type of each new job.
        """
        super().__init__()
        self._on_created = on_created
        self._create_slots = asyncio.Semaphore(_MAX_CONCURRENT_CREATES)
        self._deployment_ids: dict[str, UUID] = {}

    async def create(
        self, job_type: JobType, job: JobParameters, options: SubmitOptions = DEFAULT_SUBMIT_OPTIONS
    ) -> Job:
        """Queue a job and return without waiting for it."""
        parameters = {"job": job.model_dump(mode="json", exclude_unset=True)}
        if control := options.control.model_dump(mode="json", exclude_defaults=True):
            parameters["control"] = control
        token = uuid4().hex
        name = await self._run_name(job_type, parameters["job"], token)
        async with self._create_slots:
            flow_run = await self._create(job_type, parameters, name, token, options)
        # otherwise an earlier request with the same idempotency key created it
        replayed = flow_run.labels.get(CREATED_BY_LABEL) != token
        if replayed and flow_run.parameters != parameters:
            raise Problem("idempotency_mismatch", "This Idempotency-Key was used for a different request.")
        if not replayed:
            self._on_created(job_type.name)
        return to_job(flow_run, job_type.name, {}, replayed=replayed)

    @staticmethod
    async def _run_name(job_type: JobType, job: dict[str, Any], token: str) -> str:
        def make() -> str:
            return job_run_name(job_type.name, job_type.job, job, token, asset_name=find_asset_name)

        # the note of an uploaded file is read from the store
        is_upload = any(str(value).startswith(ASSET_SCHEME) for value in job.values())
        return await asyncio.to_thread(make) if is_upload else make()

    async def _create(
        self, job_type: JobType, parameters: dict[str, Any], name: str, token: str, options: SubmitOptions
    ) -> "FlowRun":
        labels: dict[str, Any] = {CREATED_BY_LABEL: token} | {
            f"{METADATA_LABEL_PREFIX}{key}": value for key, value in options.metadata.items()
        }
        if options.retry_of:
            labels[RETRY_OF_LABEL] = str(options.retry_of)
        deployment_id = await self._deployment_id(job_type)
        with span("create run", {"flow": job_type.name}, kind="producer") as created:
            return await self.connection.write(
                lambda client: client.create_flow_run_from_deployment(
                    deployment_id,
                    name=name,
                    parameters=parameters,
                    # without a key, repeating a request whose response was lost would create two runs
                    idempotency_key=options.key or token,
                    work_queue_name=options.control.priority,
                    tags=[*tags_for(options.control), *(f"{TAG_PREFIX}{tag}" for tag in options.tags)],
                    labels=labels | trace_labels(created.parent_of_others),
                )
            )

    async def cancel(self, job_id: UUID, reason: str = "cancelled") -> Job:
        """Request cancellation of a job."""
        from prefect.states import Cancelling

        job = await self._read(job_id)
        if job.status in FINAL_STATUSES or job.cancel_requested:
            return job
        await self.connection.write(
            lambda client: client.update_flow_run_labels(job_id, {ENDED_AS_LABEL: reason})
        )
        # for a run that no worker has claimed, the server changes this to Cancelled at once
        await self.connection.write(lambda client: client.set_flow_run_state(job_id, Cancelling()))
        self._cache.invalidate(job_id)
        return await self._cache.read(job_id)

    async def mark(self, job_id: UUID, mark: ClientMark) -> None:
        """Record what a client declares a job to be."""
        labels: dict[str, Any] = {MARKED_AS_LABEL: mark.status, MARK_MESSAGE_LABEL: mark.message}
        await self.connection.write(lambda client: client.update_flow_run_labels(job_id, labels))
        self._cache.invalidate(job_id)

    async def remove(self, job_id: UUID) -> None:
        """Delete an ended job: hide it, then delete its parameters and artifacts."""
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

        run = await self.connection.read(lambda client: client.read_flow_run(job_id))
        # hide it first: if the deletion is interrupted, the remaining data cannot be read
        await self.connection.write(
            lambda client: client.update_flow_run_labels(job_id, {REMOVED_LABEL: "true"})
        )
        self._cache.invalidate(job_id)
        kept_parameters = {"control": run.parameters["control"]} if "control" in run.parameters else {}
        name = name_without_files(run.name)
        await self.connection.write(
            lambda client: client.update_flow_run(job_id, parameters=kept_parameters, name=name)
        )
        artifact_filter = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[job_id]))
        while artifacts := await self.connection.read(
            lambda client: client.read_artifacts(artifact_filter=artifact_filter, limit=200)
        ):
            for artifact in artifacts:
                await self._delete_artifact(artifact.id)

    async def _delete_artifact(self, artifact_id: UUID) -> None:
        from prefect.exceptions import ObjectNotFound

        with contextlib.suppress(ObjectNotFound):  # an earlier request has deleted it
            await self.connection.write(lambda client: client.delete_artifact(artifact_id))

    async def _deployment_id(self, job_type: JobType) -> UUID:
        from prefect.exceptions import ObjectNotFound

        if job_type.name not in self._deployment_ids:
            try:
                deployment = await self.connection.read(
                    lambda client: client.read_deployment_by_name(job_type.deployment)
                )
            except ObjectNotFound:
                raise Problem(
                    "orchestrator_unavailable",
                    f"Deployment {job_type.deployment} is not on the Prefect server:"
                    f" run `{command('deploy')}`.",
                ) from None
            self._deployment_ids[job_type.name] = deployment.id
        return self._deployment_ids[job_type.name]

    async def health(self) -> dict[str, str | None]:
        """Return the problem of each part of the job system; None for a healthy part."""
        try:
            server_error = await self.connection.read(lambda client: client.api_healthcheck())
            if server_error is not None:
                return {"prefect": "the Prefect server cannot be reached"}
            pools = sorted({job_type.pool for job_type in FLOWS.values()})
            return {"prefect": None} | {f"worker {pool}": await self._pool_problem(pool) for pool in pools}
        except Problem as problem:
            return {"prefect": problem.detail}

    async def _pool_problem(self, pool: str) -> str | None:
        from prefect.exceptions import ObjectNotFound

        try:
            workers = await self.connection.read(lambda client: client.read_workers_for_work_pool(pool))
        except ObjectNotFound:
            return f"work pool {pool} does not exist: run `{command('deploy')}`"
        is_online = any(worker.status == "ONLINE" for worker in workers)
        return None if is_online else f"no worker of work pool {pool} is online"
