"""Reads of jobs from a Prefect server: one job, lists, counts, logs and queue estimates."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from api.errors import Problem
from api.http.metrics import PoolQueue
from api.jobs.model import UNFINISHED_STATUSES, Job, JobFilter, LogLine, LogPage, Page, QueueEstimate
from api.orchestrator.batch_loader import BatchLoader
from api.orchestrator.connection import PrefectConnection
from api.orchestrator.job_cache import JobCache
from api.orchestrator.job_list import list_runs
from api.orchestrator.mapping import REMOVED_LABEL, state_types, to_job
from api.orchestrator.queue_estimates import QueueEstimator
from api.schemas.pagination import Cursor
from flows.prefect_state.artifacts import read_latest_artifacts_async
from flows.prefect_state.queries import MAX_FILTER_VALUES, read_any_of_async
from flows.prefect_state.status import PROGRESS_KEY, RESULT_KEYS, status_of
from flows.registry import JOB_TYPES, JobType
from flows.schemas.control import Control
from tasks.run.tenancy import TENANT_TAG

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from flows.prefect_state.artifacts import ArtifactsByRun


class PrefectJobReader:
    """
    The reading half of `PrefectJobStore`.

    It holds the connection, and a cache that concurrent readers of a job share.
    """

    def __init__(self) -> None:
        """Create a reader; connects on first use."""
        self.connection = PrefectConnection()
        self._flow_names: dict[UUID, str] = {}
        self._estimator = QueueEstimator(self.connection, self._job_type_name)
        self._loader = BatchLoader(self._read_many, MAX_FILTER_VALUES)
        self._cache = JobCache(self._read_batched)

    async def close(self) -> None:
        """Close the event stream and the connection."""
        await self._cache.close()
        await self.connection.aclose()

    async def read(self, job_id: UUID) -> Job:
        """Return a job; the result is at most one second old."""
        return await self._cache.read(job_id)

    async def wait_for_change(self, job_id: UUID, limit_s: float) -> None:
        """Wait until a job may have changed."""
        await self._cache.wait_for_change(job_id, limit_s)

    async def _read(self, job_id: UUID) -> Job:
        from prefect.exceptions import ObjectNotFound

        try:
            # the run first: artifacts are written before the final state, so an ended job has them all
            flow_run = await self.connection.read(lambda client: client.read_flow_run(job_id))
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

        async def read(chunk: list[UUID], limit: int, offset: int) -> "list[FlowRun]":
            run_filter = FlowRunFilter(id=FlowRunFilterId(any_=chunk))
            return await self.connection.read(
                lambda client: client.read_flow_runs(flow_run_filter=run_filter, limit=limit, offset=offset)
            )

        flow_runs = await read_any_of_async(ids, read)  # the runs first, as in `_read`
        artifacts = await self._read_artifacts([run.id for run in flow_runs])
        runs_with_type = [(run, await self._job_type_name(run)) for run in flow_runs]
        return {
            run.id: await self._estimator.with_estimate(to_job(run, job_type, artifacts.get(run.id, {})))
            for run, job_type in runs_with_type
            if job_type is not None and REMOVED_LABEL not in run.labels
        }

    async def find(self, job_filter: JobFilter) -> Page:
        """Return a page of jobs: those due later first, then the newest."""
        page = await list_runs(self.connection, job_filter, lambda run: _matches(run, job_filter))
        artifacts = await self._read_artifacts([run.id for run in page.runs])
        jobs = [
            to_job(run, await self._job_type_name(run) or "", artifacts.get(run.id, {})) for run in page.runs
        ]
        return Page(tuple(jobs), page.next)

    async def has_idempotency_key(self, key: str) -> bool:
        """Return whether a job with this idempotency key exists."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey

        run_filter = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
        found = await self.connection.read(
            lambda client: client.read_flow_runs(flow_run_filter=run_filter, limit=1)
        )
        return bool(found)

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
        run_filter = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)),
            tags=FlowRunFilterTags(all_=[f"{TENANT_TAG}{tenant}"]) if tenant else None,
        )
        flow_filter = FlowFilter(name=FlowFilterName(any_=sorted(JOB_TYPES)))
        return await self.connection.read(
            lambda client: client.count_flow_runs(flow_filter=flow_filter, flow_run_filter=run_filter)
        )

    async def estimate(self, job_type: JobType, control: Control) -> QueueEstimate:
        """Estimate queue position and ETA of a job submitted now."""
        return await self._estimator.estimate(job_type, control)

    async def queues(self) -> tuple[PoolQueue, ...]:
        """Return the queue of each work pool; it is a second old, or some seconds if reading it is slow."""
        return await self._estimator.queues()

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
        log_filter = LogFilter(
            flow_run_id=LogFilterFlowRunId(any_=[job_id]),
            level=LogFilterLevel(ge_=level),
            timestamp=LogFilterTimestamp(**time_range),
        )
        page_size = min(200, limit + len(cursor.seen))
        entries = await self.connection.read(
            lambda client: client.read_logs(log_filter, sort=LogSort.TIMESTAMP_ASC, limit=page_size)
        )
        lines = [
            LogLine(line.id, line.timestamp, line.level, line.message)
            for line in entries
            if line.id not in cursor.seen
        ][:limit]
        return LogPage(tuple(lines), cursor.advance([(line.time, line.id) for line in lines]).encode())

    async def _read_artifacts(self, ids: Iterable[UUID]) -> "ArtifactsByRun":
        run_ids = list(ids)
        return await self.connection.read(
            lambda client: read_latest_artifacts_async(client, run_ids, [PROGRESS_KEY, *RESULT_KEYS])
        )

    async def _job_type_name(self, flow_run: "FlowRun") -> str | None:
        """Return the name of a run's flow; None if the flow is not a job type."""
        if flow_run.flow_id not in self._flow_names:
            flow = await self.connection.read(lambda client: client.read_flow(flow_run.flow_id))
            self._flow_names[flow_run.flow_id] = flow.name
        name = self._flow_names[flow_run.flow_id]
        return name if name in JOB_TYPES else None


def _matches(run: "FlowRun", job_filter: JobFilter) -> bool:
    """Return whether a run matches the part of the filter that Prefect cannot evaluate."""
    return (
        REMOVED_LABEL not in run.labels
        and (not job_filter.statuses or status_of(run) in job_filter.statuses)
        and (job_filter.search is None or job_filter.search.casefold() in run.name.casefold())
    )


def _not_found() -> Problem:
    return Problem("not_found", "Job not found")
