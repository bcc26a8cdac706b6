"""The job store on a Prefect server: create, read, list and cancel jobs, which are flow runs there."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from api.cursor import Cursor
from api.live import Live
from api.prefect_door import Door, patiently
from api.prefect_queue import Forecasts
from api.prefect_reading import METADATA, REMOVED, TAG, state_filter, state_types, to_run
from api.problems import Problem
from api.runs import FINAL, UNFINISHED, USUAL_TERMS, LogLine, LogPage, Outlook, Page, Run, Terms, Wanted
from api.together import Together
from flows.control import ENDED_AS, TENANT_TAG, Control, tags
from flows.family import RETRY_OF, part_of
from flows.outcome import NOTES, PROGRESS, status_of
from flows.prefect_state.queries import MOST_VALUES, PAGE, read_any_of_async
from flows.registry import FLOWS, JOB_TYPES, JobType
from flows.schemas import Job

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Artifact, FlowRun

_SCANS = 20
"""Maximum number of Prefect pages read for one page of jobs if Prefect cannot filter by the exact status."""


class PrefectRuns:
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
        self._door = Door()
        self._creating = asyncio.Lock()
        self._deployments: dict[str, UUID] = {}
        self._types: dict[UUID, str] = {}
        self._forecasts = Forecasts(self._door, self._type)
        self._together = Together(self._read_all, MOST_VALUES)
        self._live = Live(self._read_soon)

    async def close(self) -> None:
        """Close the event stream and the connection."""
        await self._live.close()
        await self._door.close()

    # -- create and cancel --------------------------------------------------------------------------------

    async def create(self, job_type: JobType, job: Job, terms: Terms = USUAL_TERMS) -> Run:
        """Queue a job and return without waiting for it."""
        parameters = {"job": job.model_dump(mode="json", exclude_unset=True)}
        if wishes := terms.control.model_dump(mode="json", exclude_defaults=True):
            parameters["control"] = wishes
        name = f"{job_type.name}-{uuid4().hex[:12]}"
        async with self._creating:  # SQLite rejects most concurrent writes
            made = await patiently(partial(self._create, job_type, parameters, name, terms))
        replayed = made.name != name  # an earlier request with the same idempotency key created it
        if replayed and made.parameters != parameters:
            raise Problem("idempotency_mismatch", "This Idempotency-Key was used for a different request.")
        if not replayed:
            self._on_created(job_type.name)
        return to_run(made, job_type.name, {}, replayed=replayed)

    async def _create(
        self, job_type: JobType, parameters: dict[str, Any], name: str, terms: Terms
    ) -> "FlowRun":
        client = await self._door.open()
        labels: dict[str, Any] = {f"{METADATA}{key}": value for key, value in terms.metadata.items()}
        if terms.retry_of:
            labels[RETRY_OF] = str(terms.retry_of)
        return await client.create_flow_run_from_deployment(
            await self._deployment(job_type),
            name=name,
            parameters=parameters,
            idempotency_key=terms.key,
            work_queue_name=terms.control.priority,
            tags=[*tags(terms.control), *(f"{TAG}{tag}" for tag in terms.tags)],
            labels=labels or None,
        )

    async def cancel(self, job_id: UUID, word: str = "cancelled") -> Run:
        """Request cancellation of a job."""
        from prefect.states import Cancelling

        run = await self._read(job_id)
        if run.status in FINAL or run.cancel_requested:
            return run
        client = await self._door.open()
        await patiently(partial(client.update_flow_run_labels, job_id, {ENDED_AS: word}))
        # for a run that no worker has claimed, the server changes this to Cancelled at once
        await patiently(partial(client.set_flow_run_state, job_id, Cancelling()))
        self._live.forget(job_id)
        return await self._live.read(job_id)

    async def remove(self, job_id: UUID) -> None:
        """Delete an ended job: hide it, then delete its parameters and artifacts."""
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

        client = await self._door.open()
        run = await client.read_flow_run(job_id)
        # hide it first: if the deletion is interrupted, the remaining data cannot be read
        await patiently(partial(client.update_flow_run_labels, job_id, {REMOVED: "true"}))
        self._live.forget(job_id)
        kept = {"control": run.parameters["control"]} if "control" in run.parameters else {}
        await patiently(partial(client.update_flow_run, job_id, parameters=kept))
        own = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[job_id]))
        while found := await client.read_artifacts(artifact_filter=own, limit=200):
            for note in found:
                await patiently(partial(client.delete_artifact, note.id))

    # -- read ---------------------------------------------------------------------------------------------

    async def read(self, job_id: UUID) -> Run:
        """Return a job; the result is at most one second old."""
        return await self._live.read(job_id)

    async def changed(self, job_id: UUID, limit_s: float) -> None:
        """Wait until a job may have changed."""
        await self._live.changed(job_id, limit_s)

    async def _read(self, job_id: UUID) -> Run:
        from prefect.exceptions import ObjectNotFound

        client = await self._door.open()
        try:
            # the run first: artifacts are written before the final state, so an ended job has them all
            found = await client.read_flow_run(job_id)
            notes = (await self._notes([job_id]))[job_id]
        except ObjectNotFound:
            raise _unknown() from None
        job_type = await self._type(found)
        if job_type is None or REMOVED in found.labels:
            raise _unknown()
        return await self._forecasts.add(to_run(found, job_type, notes))

    async def _read_soon(self, job_id: UUID) -> Run:
        """Return a job; concurrent calls are batched into one request."""
        run = await self._together.get(job_id)
        if run is None:
            raise _unknown()
        return run

    async def _read_all(self, ids: Sequence[UUID]) -> dict[UUID, Run]:
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

        client = await self._door.open()

        async def read(chunk: list[UUID], limit: int, offset: int) -> "list[FlowRun]":
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=chunk))
            return await client.read_flow_runs(flow_run_filter=wanted, limit=limit, offset=offset)

        found = await read_any_of_async(ids, read)  # the runs first, as in `_read`
        notes = await self._notes([run.id for run in found])
        typed = [(run, await self._type(run)) for run in found]
        return {
            run.id: await self._forecasts.add(to_run(run, job_type, notes[run.id]))
            for run, job_type in typed
            if job_type is not None and REMOVED not in run.labels
        }

    async def find(self, wanted: Wanted) -> Page:
        """Return a page of jobs, newest first."""
        cursor = Cursor.read(wanted.cursor) if wanted.cursor else Cursor(_now(), ())
        kept: list[FlowRun] = []
        more = True
        for _ in range(_SCANS):
            found = await self._page(wanted, cursor)
            fitting = [run for run in found if _fits(run, wanted)]
            room = wanted.limit - len(kept)
            kept += fitting[:room]
            more = len(found) >= wanted.limit or len(fitting) > room
            # runs beyond the page's limit belong to the next page
            passed = found if len(fitting) <= room else found[: found.index(fitting[room])]
            cursor = cursor.after([(_when(run), run.id) for run in passed])
            if not more or len(kept) >= wanted.limit:
                break
        notes = await self._notes([run.id for run in kept])
        runs = [to_run(run, await self._type(run) or "", notes[run.id]) for run in kept]
        return Page(tuple(runs), cursor.write() if more else None)

    async def knows(self, key: str) -> bool:
        """Return whether a job with this idempotency key exists."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey

        client = await self._door.open()
        wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
        return bool(await client.read_flow_runs(flow_run_filter=wanted, limit=1))

    async def unfinished(self, tenant: str | None) -> int:
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

        kinds = [StateType(kind) for kind in state_types(UNFINISHED)]
        client = await self._door.open()
        return await client.count_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=sorted(JOB_TYPES))),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=kinds)),
                tags=FlowRunFilterTags(all_=[f"{TENANT_TAG}{tenant}"]) if tenant else None,
            ),
        )

    async def outlook(self, job_type: JobType, control: Control) -> Outlook:
        """Estimate queue position and ETA of a job submitted now."""
        return await self._forecasts.outlook(job_type, control)

    async def _page(self, wanted: Wanted, cursor: Cursor) -> "list[FlowRun]":
        """
        Return a page of runs from the cursor on.

        Runs with the cursor's timestamp that an earlier page returned are removed here: a filter of their ids
        could exceed the number of parameters that the server's database accepts.
        """
        seen, offset = frozenset(cursor.seen), 0
        kept: list[FlowRun] = []
        while len(kept) < wanted.limit:
            size = min(PAGE, wanted.limit - len(kept) + len(seen))
            page = await self._rows(wanted, cursor.time, size, offset)
            kept += [run for run in page if run.id not in seen]
            offset += len(page)
            if len(page) < size:
                break
        return kept[: wanted.limit]

    async def _rows(self, wanted: Wanted, until: datetime, limit: int, offset: int) -> "list[FlowRun]":
        from prefect.client.schemas.filters import (
            FlowFilter,
            FlowFilterName,
            FlowRunFilter,
            FlowRunFilterExpectedStartTime,
            FlowRunFilterTags,
        )
        from prefect.client.schemas.sorting import FlowRunSort

        before = min(filter(None, (until, wanted.created_before)))
        span: Any = {"before_": before, "after_": wanted.created_after}
        all_tags = [f"{TAG}{tag}" for tag in wanted.tags]
        if wanted.part_of is not None:
            all_tags.append(part_of(wanted.part_of))
        if wanted.tenant is not None:
            all_tags.append(f"{TENANT_TAG}{wanted.tenant}")
        client = await self._door.open()
        return await client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=sorted(wanted.types or JOB_TYPES))),
            flow_run_filter=FlowRunFilter(
                state=state_filter(wanted.statuses),
                tags=FlowRunFilterTags(all_=all_tags) if all_tags else None,
                expected_start_time=FlowRunFilterExpectedStartTime(**span),
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
        cursor = Cursor.read(after) if after else Cursor(datetime.fromtimestamp(0, UTC), ())
        span: Any = {"after_": cursor.time}
        client = await self._door.open()
        found = await client.read_logs(
            LogFilter(
                flow_run_id=LogFilterFlowRunId(any_=[job_id]),
                level=LogFilterLevel(ge_=level),
                timestamp=LogFilterTimestamp(**span),
            ),
            sort=LogSort.TIMESTAMP_ASC,
            limit=min(200, limit + len(cursor.seen)),
        )
        lines = [
            LogLine(line.id, line.timestamp, line.level, line.message)
            for line in found
            if line.id not in cursor.seen
        ][:limit]
        return LogPage(tuple(lines), cursor.after([(line.time, line.id) for line in lines]).write())

    async def _notes(self, ids: Iterable[UUID]) -> dict[UUID, dict[str, Any]]:
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

        client = await self._door.open()

        async def read(chunk: list[UUID], limit: int, offset: int) -> "list[Artifact]":
            wanted = ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=chunk),
                key=ArtifactFilterKey(any_=[PROGRESS, *NOTES]),
            )
            return await client.read_artifacts(artifact_filter=wanted, limit=limit, offset=offset)

        notes = defaultdict[UUID, dict[str, Any]](dict)
        for note in await read_any_of_async(ids, read, order=lambda note: str(note.updated)):
            if note.flow_run_id:
                notes[note.flow_run_id][str(note.key)] = note  # the newest artifact per key comes last
        return notes

    # -- deployments and health ---------------------------------------------------------------------------

    async def _deployment(self, job_type: JobType) -> UUID:
        from prefect.exceptions import ObjectNotFound

        if job_type.name not in self._deployments:
            client = await self._door.open()
            try:
                found = await client.read_deployment_by_name(job_type.deployment)
            except ObjectNotFound:
                raise Problem(
                    "orchestrator_unavailable",
                    f"Deployment {job_type.deployment} is not on the Prefect server: run `musetalk deploy`.",
                ) from None
            self._deployments[job_type.name] = found.id
        return self._deployments[job_type.name]

    async def _type(self, found: "FlowRun") -> str | None:
        """Return the name of a run's flow; None if the flow is not a job type."""
        if found.flow_id not in self._types:
            client = await self._door.open()
            self._types[found.flow_id] = (await client.read_flow(found.flow_id)).name
        name = self._types[found.flow_id]
        return name if name in JOB_TYPES else None

    async def connection(self) -> "PrefectClient":
        """Return the Prefect client, opened on first use."""
        return await self._door.open()

    async def faults(self) -> dict[str, str | None]:
        """Return the problem of each part of the job system; None for a healthy part."""
        try:
            client = await self._door.open()
            trouble = await client.api_healthcheck()
        except Problem as problem:
            return {"prefect": problem.detail}
        if trouble is not None:
            return {"prefect": "the Prefect server cannot be reached"}
        pools = sorted({job_type.pool for job_type in FLOWS.values()})
        return {"prefect": None} | {f"worker {pool}": await self._pool_fault(pool) for pool in pools}

    async def _pool_fault(self, pool: str) -> str | None:
        from prefect.exceptions import ObjectNotFound

        client = await self._door.open()
        try:
            workers = await client.read_workers_for_work_pool(pool)
        except ObjectNotFound:
            return f"work pool {pool} does not exist: run `musetalk deploy`"
        online = any(worker.status == "ONLINE" for worker in workers)
        return None if online else f"no worker of work pool {pool} is online"


def _fits(run: "FlowRun", wanted: Wanted) -> bool:
    """Return whether a run matches the part of the filter that Prefect cannot evaluate."""
    return REMOVED not in run.labels and (not wanted.statuses or status_of(run) in wanted.statuses)


def _when(run: "FlowRun") -> datetime:
    """Return the time by which job lists are sorted."""
    return run.expected_start_time or run.created or _now()


def _now() -> datetime:
    return datetime.now(UTC)


def _unknown() -> Problem:
    return Problem("not_found", "Job not found")
