"""The job store on a Prefect server: create, read, list and cancel jobs, which are flow runs there."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from api.errors import Problem
from api.jobs.model import (
    DEFAULT_SUBMIT_OPTIONS,
    FINAL_STATUSES,
    UNFINISHED_STATUSES,
    Job,
    JobFilter,
    LogLine,
    LogPage,
    Page,
    QueueEstimate,
    SubmitOptions,
)
from api.orchestrator.batch_loader import BatchLoader
from api.orchestrator.connection import PrefectConnection, retry_while_unavailable
from api.orchestrator.job_cache import JobCache
from api.orchestrator.mapping import (
    METADATA_LABEL_PREFIX,
    REMOVED_LABEL,
    TAG_PREFIX,
    state_filter,
    state_types,
    to_job,
)
from api.orchestrator.queue import QueueEstimator
from api.schemas.pagination import Cursor
from flows.prefect_state.artifacts import read_latest_artifacts_async
from flows.prefect_state.labels import RETRY_OF_LABEL, parent_tag
from flows.prefect_state.queries import MAX_FILTER_VALUES, PAGE_SIZE, read_any_of_async
from flows.prefect_state.status import PROGRESS_KEY, RESULT_KEYS, status_of
from flows.registry import FLOWS, JOB_TYPES, JobType
from flows.schemas.base import JobParameters
from flows.schemas.control import ENDED_AS_LABEL, Control, tags_for
from tasks.run.tenancy import TENANT_TAG

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from flows.prefect_state.artifacts import ArtifactsByRun

_MAX_SCANNED_PAGES = 20
"""Maximum number of Prefect pages read for one page of jobs if Prefect cannot filter by the exact status."""


class PrefectJobStore:
    """
    The job store on a Prefect server.

    One per process: it holds the connection and creates runs one at a time.
    """

    def __init__(self, on_created: Callable[[str], None] = lambda _: None) -> None:
        """
        Create a job store; connects on first use.

        Args:
            on_created: called with the type of each new job.
        """
        self._on_created = on_created
        self._connection = PrefectConnection()
        self._create_lock = asyncio.Lock()
        self._deployment_ids: dict[str, UUID] = {}
        self._flow_names: dict[UUID, str] = {}
        self._estimator = QueueEstimator(self._connection, self._job_type_name)
        self._loader = BatchLoader(self._read_many, MAX_FILTER_VALUES)
        self._cache = JobCache(self._read_batched)

    async def close(self) -> None:
        """Close the event stream and the connection."""
        await self._cache.close()
        await self._connection.close()

    # -- create and cancel --------------------------------------------------------------------------------

    async def create(
        self, job_type: JobType, job: JobParameters, options: SubmitOptions = DEFAULT_SUBMIT_OPTIONS
    ) -> Job:
        """Queue a job and return without waiting for it."""
        parameters = {"job": job.model_dump(mode="json", exclude_unset=True)}
        if control := options.control.model_dump(mode="json", exclude_defaults=True):
            parameters["control"] = control
        name = f"{job_type.name}-{uuid4().hex[:12]}"
        async with self._create_lock:  # SQLite rejects most concurrent writes
            flow_run = await retry_while_unavailable(
                partial(self._create, job_type, parameters, name, options)
            )
        replayed = flow_run.name != name  # an earlier request with the same idempotency key created it
        if replayed and flow_run.parameters != parameters:
            raise Problem("idempotency_mismatch", "This Idempotency-Key was used for a different request.")
        if not replayed:
            self._on_created(job_type.name)
        return to_job(flow_run, job_type.name, {}, replayed=replayed)

    async def _create(
        self, job_type: JobType, parameters: dict[str, Any], name: str, options: SubmitOptions
    ) -> "FlowRun":
        client = await self._connection.open()
        labels: dict[str, Any] = {
            f"{METADATA_LABEL_PREFIX}{key}": value for key, value in options.metadata.items()
        }
        if options.retry_of:
            labels[RETRY_OF_LABEL] = str(options.retry_of)
        return await client.create_flow_run_from_deployment(
            await self._deployment_id(job_type),
            name=name,
            parameters=parameters,
            idempotency_key=options.key,
            work_queue_name=options.control.priority,
            tags=[*tags_for(options.control), *(f"{TAG_PREFIX}{tag}" for tag in options.tags)],
            labels=labels or None,
        )

    async def cancel(self, job_id: UUID, reason: str = "cancelled") -> Job:
        """Request cancellation of a job."""
        from prefect.states import Cancelling

        job = await self._read(job_id)
        if job.status in FINAL_STATUSES or job.cancel_requested:
            return job
        client = await self._connection.open()
        await retry_while_unavailable(
            partial(client.update_flow_run_labels, job_id, {ENDED_AS_LABEL: reason})
        )
        # for a run that no worker has claimed, the server changes this to Cancelled at once
        await retry_while_unavailable(partial(client.set_flow_run_state, job_id, Cancelling()))
        self._cache.invalidate(job_id)
        return await self._cache.read(job_id)

    async def remove(self, job_id: UUID) -> None:
        """Delete an ended job: hide it, then delete its parameters and artifacts."""
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

        client = await self._connection.open()
        run = await client.read_flow_run(job_id)
        # hide it first: if the deletion is interrupted, the remaining data cannot be read
        await retry_while_unavailable(partial(client.update_flow_run_labels, job_id, {REMOVED_LABEL: "true"}))
        self._cache.invalidate(job_id)
        kept_parameters = {"control": run.parameters["control"]} if "control" in run.parameters else {}
        await retry_while_unavailable(partial(client.update_flow_run, job_id, parameters=kept_parameters))
        artifact_filter = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[job_id]))
        while artifacts := await client.read_artifacts(artifact_filter=artifact_filter, limit=200):
            for artifact in artifacts:
                await retry_while_unavailable(partial(client.delete_artifact, artifact.id))

    # -- read ---------------------------------------------------------------------------------------------

    async def read(self, job_id: UUID) -> Job:
        """Return a job; the result is at most one second old."""
        return await self._cache.read(job_id)

    async def wait_for_change(self, job_id: UUID, limit_s: float) -> None:
        """Wait until a job may have changed."""
        await self._cache.wait_for_change(job_id, limit_s)

    async def _read(self, job_id: UUID) -> Job:
        from prefect.exceptions import ObjectNotFound

        client = await self._connection.open()
        try:
            # the run first: artifacts are written before the final state, so an ended job has them all
            flow_run = await client.read_flow_run(job_id)
            artifacts = (await self._read_artifacts([job_id])).get(job_id, {})
        except ObjectNotFound:
            raise _not_found() from None
        job_type = await self._job_type_name(flow_run)
        if job_type is None or REMOVED_LABEL in flow_run.labels:
            raise _not_found()
        return await self._estimator.with_estimate(to_job(flow_run, job_type, artifacts))

    async def _read_batched(self, job_id: UUID) -> Job:
        """Return a job; concurrent calls are batched into one request."""
        job = await self._loader.load(job_id)
        if job is None:
            raise _not_found()
        return job

    async def _read_many(self, ids: Sequence[UUID]) -> dict[UUID, Job]:
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

        client = await self._connection.open()

        async def read(chunk: list[UUID], limit: int, offset: int) -> "list[FlowRun]":
            run_filter = FlowRunFilter(id=FlowRunFilterId(any_=chunk))
            return await client.read_flow_runs(flow_run_filter=run_filter, limit=limit, offset=offset)

        flow_runs = await read_any_of_async(ids, read)  # the runs first, as in `_read`
        artifacts = await self._read_artifacts([run.id for run in flow_runs])
        runs_with_type = [(run, await self._job_type_name(run)) for run in flow_runs]
        return {
            run.id: await self._estimator.with_estimate(to_job(run, job_type, artifacts.get(run.id, {})))
            for run, job_type in runs_with_type
            if job_type is not None and REMOVED_LABEL not in run.labels
        }

    async def find(self, job_filter: JobFilter) -> Page:
        """Return a page of jobs, newest first."""
        cursor = Cursor.decode(job_filter.cursor) if job_filter.cursor else Cursor(_now(), ())
        page_runs: list[FlowRun] = []
        has_more = True
        for _ in range(_MAX_SCANNED_PAGES):
            scanned = await self._read_page(job_filter, cursor)
            matching = [run for run in scanned if _matches(run, job_filter)]
            remaining = job_filter.limit - len(page_runs)
            page_runs += matching[:remaining]
            has_more = len(scanned) >= job_filter.limit or len(matching) > remaining
            # runs beyond the page's limit belong to the next page
            passed = scanned if len(matching) <= remaining else scanned[: scanned.index(matching[remaining])]
            cursor = cursor.advance([(_sort_time(run), run.id) for run in passed])
            if not has_more or len(page_runs) >= job_filter.limit:
                break
        artifacts = await self._read_artifacts([run.id for run in page_runs])
        jobs = [
            to_job(run, await self._job_type_name(run) or "", artifacts.get(run.id, {})) for run in page_runs
        ]
        return Page(tuple(jobs), cursor.encode() if has_more else None)

    async def has_idempotency_key(self, key: str) -> bool:
        """Return whether a job with this idempotency key exists."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey

        client = await self._connection.open()
        run_filter = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
        return bool(await client.read_flow_runs(flow_run_filter=run_filter, limit=1))

    async def count_unfinished(self, tenant: str | None) -> int:
        """Return the number of unfinished jobs."""
        from prefect.client.schemas.filters import (
            FlowFilter,
            FlowFilterName,
            FlowRunFilter,
            FlowRunFilterState,
            FlowRunFilterStateType,
            FlowRunFilterTags,
        )
        from prefect.client.schemas.objects import StateType

        types = [StateType(kind) for kind in state_types(UNFINISHED_STATUSES)]
        client = await self._connection.open()
        return await client.count_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=sorted(JOB_TYPES))),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)),
                tags=FlowRunFilterTags(all_=[f"{TENANT_TAG}{tenant}"]) if tenant else None,
            ),
        )

    async def estimate(self, job_type: JobType, control: Control) -> QueueEstimate:
        """Estimate queue position and ETA of a job submitted now."""
        return await self._estimator.estimate(job_type, control)

    async def _read_page(self, job_filter: JobFilter, cursor: Cursor) -> "list[FlowRun]":
        """
        Return a page of runs from the cursor on.

        Runs with the cursor's timestamp that an earlier page returned are removed here: a filter of their ids
        could exceed the number of parameters that the server's database accepts.
        """
        seen, offset = frozenset(cursor.seen), 0
        unseen: list[FlowRun] = []
        while len(unseen) < job_filter.limit:
            size = min(PAGE_SIZE, job_filter.limit - len(unseen) + len(seen))
            page = await self._read_rows(job_filter, cursor.time, size, offset)
            unseen += [run for run in page if run.id not in seen]
            offset += len(page)
            if len(page) < size:
                break
        return unseen[: job_filter.limit]

    async def _read_rows(
        self, job_filter: JobFilter, until: datetime, limit: int, offset: int
    ) -> "list[FlowRun]":
        from prefect.client.schemas.filters import (
            FlowFilter,
            FlowFilterName,
            FlowRunFilter,
            FlowRunFilterExpectedStartTime,
            FlowRunFilterTags,
        )
        from prefect.client.schemas.sorting import FlowRunSort

        before = min(filter(None, (until, job_filter.created_before)))
        time_range: Any = {"before_": before, "after_": job_filter.created_after}
        all_tags = [f"{TAG_PREFIX}{tag}" for tag in job_filter.tags]
        if job_filter.part_of is not None:
            all_tags.append(parent_tag(job_filter.part_of))
        if job_filter.tenant is not None:
            all_tags.append(f"{TENANT_TAG}{job_filter.tenant}")
        client = await self._connection.open()
        return await client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=sorted(job_filter.types or JOB_TYPES))),
            flow_run_filter=FlowRunFilter(
                state=state_filter(job_filter.statuses),
                tags=FlowRunFilterTags(all_=all_tags) if all_tags else None,
                expected_start_time=FlowRunFilterExpectedStartTime(**time_range),
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=limit,
            offset=offset,
        )

    async def logs(self, job_id: UUID, after: str | None, level: int, limit: int) -> LogPage:
        """Return a page of a job's log."""
        from prefect.client.schemas.filters import (
            LogFilter,
            LogFilterFlowRunId,
            LogFilterLevel,
            LogFilterTimestamp,
        )
        from prefect.client.schemas.sorting import LogSort

        await self.read(job_id)  # raises Problem `not_found`
        cursor = Cursor.decode(after) if after else Cursor(datetime.fromtimestamp(0, UTC), ())
        time_range: Any = {"after_": cursor.time}
        client = await self._connection.open()
        entries = await client.read_logs(
            LogFilter(
                flow_run_id=LogFilterFlowRunId(any_=[job_id]),
                level=LogFilterLevel(ge_=level),
                timestamp=LogFilterTimestamp(**time_range),
            ),
            sort=LogSort.TIMESTAMP_ASC,
            limit=min(200, limit + len(cursor.seen)),
        )
        lines = [
            LogLine(line.id, line.timestamp, line.level, line.message)
            for line in entries
            if line.id not in cursor.seen
        ][:limit]
        return LogPage(tuple(lines), cursor.advance([(line.time, line.id) for line in lines]).encode())

    async def _read_artifacts(self, ids: Iterable[UUID]) -> "ArtifactsByRun":
        return await read_latest_artifacts_async(
            await self._connection.open(), ids, [PROGRESS_KEY, *RESULT_KEYS]
        )

    # -- deployments and health ---------------------------------------------------------------------------

    async def _deployment_id(self, job_type: JobType) -> UUID:
        from prefect.exceptions import ObjectNotFound

        if job_type.name not in self._deployment_ids:
            client = await self._connection.open()
            try:
                deployment = await client.read_deployment_by_name(job_type.deployment)
            except ObjectNotFound:
                raise Problem(
                    "orchestrator_unavailable",
                    f"Deployment {job_type.deployment} is not on the Prefect server: run `musetalk deploy`.",
                ) from None
            self._deployment_ids[job_type.name] = deployment.id
        return self._deployment_ids[job_type.name]

    async def _job_type_name(self, flow_run: "FlowRun") -> str | None:
        """Return the name of a run's flow; None if the flow is not a job type."""
        if flow_run.flow_id not in self._flow_names:
            client = await self._connection.open()
            self._flow_names[flow_run.flow_id] = (await client.read_flow(flow_run.flow_id)).name
        name = self._flow_names[flow_run.flow_id]
        return name if name in JOB_TYPES else None

    async def connection(self) -> "PrefectClient":
        """Return the Prefect client, opened on first use."""
        return await self._connection.open()

    async def health(self) -> dict[str, str | None]:
        """Return the problem of each part of the job system; None for a healthy part."""
        try:
            client = await self._connection.open()
            server_error = await client.api_healthcheck()
        except Problem as problem:
            return {"prefect": problem.detail}
        if server_error is not None:
            return {"prefect": "the Prefect server cannot be reached"}
        pools = sorted({job_type.pool for job_type in FLOWS.values()})
        return {"prefect": None} | {f"worker {pool}": await self._pool_problem(pool) for pool in pools}

    async def _pool_problem(self, pool: str) -> str | None:
        from prefect.exceptions import ObjectNotFound

        client = await self._connection.open()
        try:
            workers = await client.read_workers_for_work_pool(pool)
        except ObjectNotFound:
            return f"work pool {pool} does not exist: run `musetalk deploy`"
        is_online = any(worker.status == "ONLINE" for worker in workers)
        return None if is_online else f"no worker of work pool {pool} is online"


def _matches(run: "FlowRun", job_filter: JobFilter) -> bool:
    """Return whether a run matches the part of the filter that Prefect cannot evaluate."""
    return REMOVED_LABEL not in run.labels and (
        not job_filter.statuses or status_of(run) in job_filter.statuses
    )


def _sort_time(run: "FlowRun") -> datetime:
    """Return the time by which job lists are sorted."""
    return run.expected_start_time or run.created or _now()


def _now() -> datetime:
    return datetime.now(UTC)


def _not_found() -> Problem:
    return Problem("not_found", "Job not found")
