"""Webhook deliveries of a job, read from the `notify` runs that made the attempts, and their replay."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

from api.errors import Problem
from api.http.metrics import WebhookBacklog
from api.orchestrator.connection import PrefectConnection
from api.orchestrator.queue_estimates import TtlValue
from flows.prefect_state.artifacts import read_latest_artifacts_async
from flows.prefect_state.queries import due_since, read_by_key_async
from flows.prefect_state.queue_order import due_time
from flows.prefect_state.status import read_data
from flows.registry import INTERNAL_FLOWS
from flows.schemas.control import Event
from flows.schemas.webhook import (
    DEAD_LETTER,
    DELIVERED,
    DELIVERY_KEY,
    RECEIVER_TAG_PREFIX,
    REPLAY,
    NotifyJob,
    job_tag,
)
from tasks.run.tenancy import TENANT_TAG
from tasks.tracing.traceparent import TRACE_LABEL, trace_labels

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_BACKLOG_TTL_S: Final = 10.0
_KEPT_TAGS: Final = (TENANT_TAG, RECEIVER_TAG_PREFIX)
"""Prefixes of the tags that a replay has in common with the first attempt."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    A delivery attempt, past or scheduled.

    Attributes:
        due:     scheduled time.
        sent:    time at which the request was sent; None if no request was sent.
        outcome: delivered, refused, unreachable, blocked, gone or dropped; scheduled or running before the
            attempt has ended; canceled or crashed if it ended without a report.
    """

    number: int
    due: datetime | None
    sent: datetime | None
    status_code: int | None
    outcome: str
    reason: str | None
    replay: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook message and all attempts to deliver it, in order."""

    webhook_id: str
    event: Event
    delivered: bool
    dead: bool
    next_attempt: datetime | None
    attempts: Sequence[Attempt]


class DeliveryStore(Protocol):
    """The interface through which routes read and replay webhook deliveries; tests use a fake."""

    async def list_for_job(self, job_id: UUID) -> list[Delivery]:
        """Return the deliveries of a job in the order of their first attempts; empty for an unknown job."""
        ...

    async def replay(self, job_id: UUID, webhook_id: str) -> Attempt:
        """Schedule one more attempt; raises Problem `not_found` if the job has no delivery of that id."""
        ...

    async def backlog(self) -> WebhookBacklog:
        """Return the number of attempts that have not been made yet, at most ten seconds old."""
        ...


class PrefectDeliveryStore:
    """Webhook deliveries stored as flow runs on a Prefect server."""

    def __init__(self, connection: PrefectConnection) -> None:
        """Use a shared connection."""
        self._connection = connection
        self._backlog = TtlValue(self._read_backlog, _BACKLOG_TTL_S)

    async def list_for_job(self, job_id: UUID) -> list[Delivery]:
        """Return the deliveries of a job."""
        runs = await self._read_runs(job_id)
        reports = await self._read_reports(runs)
        runs_by_webhook: dict[str, list[FlowRun]] = {}
        for run in runs:
            if (parameters := _parse_parameters(run)) is not None:
                runs_by_webhook.setdefault(parameters.webhook_id, []).append(run)
        return [_to_delivery(chain, reports) for chain in runs_by_webhook.values()]

    async def backlog(self) -> WebhookBacklog:
        """Return the number of attempts that have not been made yet, at most ten seconds old."""
        return await self._backlog.get()

    async def _read_backlog(self) -> WebhookBacklog:
        from prefect.client.schemas.filters import (
            FlowFilter,
            FlowFilterName,
            FlowRunFilter,
            FlowRunFilterNextScheduledStartTime,
            FlowRunFilterState,
            FlowRunFilterStateType,
        )
        from prefect.client.schemas.objects import StateType
        from prefect.client.schemas.sorting import FlowRunSort

        now = datetime.now(UTC)
        flows = FlowFilter(name=FlowFilterName(any_=["notify"]))
        scheduled = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        )
        until_now: Any = {"before_": now}
        due = scheduled.model_copy(
            update={"next_scheduled_start_time": FlowRunFilterNextScheduledStartTime(**until_now)}
        )
        count_due, count_all, oldest = await asyncio.gather(
            self._connection.read(
                lambda client: client.count_flow_runs(flow_filter=flows, flow_run_filter=due)
            ),
            self._connection.read(
                lambda client: client.count_flow_runs(flow_filter=flows, flow_run_filter=scheduled)
            ),
            self._connection.read(
                lambda client: client.read_flow_runs(
                    flow_filter=flows,
                    flow_run_filter=due,
                    sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
                    limit=1,
                )
            ),
        )
        age_s = max(((now - due_time(run)).total_seconds() for run in oldest), default=0.0)
        return WebhookBacklog(count_due, max(0, count_all - count_due), max(0.0, age_s))

    async def replay(self, job_id: UUID, webhook_id: str) -> Attempt:
        """Schedule one attempt for now, without retries."""
        runs = await self._read_runs(job_id)
        earlier_attempts = [
            parameters
            for run in runs
            if (parameters := _parse_parameters(run)) and parameters.webhook_id == webhook_id
        ]
        if not earlier_attempts:
            raise Problem("not_found", "The job has no webhook delivery with this id.")
        # the attempt number is part of the idempotency key, so concurrent requests create one run; it follows
        # the highest one, because earlier attempts may have been deleted
        last = max(earlier_attempts, key=lambda attempt: attempt.attempt)
        replay = last.model_copy(update={"attempt": last.attempt + 1, "replay": True})
        return _to_attempt(await self._create_replay(replay, runs[0]), {})

    async def _create_replay(self, parameters: NotifyJob, first_run: "FlowRun") -> "FlowRun":
        name = INTERNAL_FLOWS["notify"].deployment
        deployment = await self._connection.read(lambda client: client.read_deployment_by_name(name))
        control = first_run.parameters.get("control")
        return await self._connection.write(
            lambda client: client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"job": parameters.model_dump(mode="json")}
                | ({"control": control} if control else {}),
                name=parameters.run_name,
                idempotency_key=parameters.idempotency_key,
                tags=[*parameters.tags, *(tag for tag in first_run.tags if tag.startswith(_KEPT_TAGS))],
                labels=trace_labels(first_run.labels.get(TRACE_LABEL)),
            )
        )

    async def _read_runs(self, job_id: UUID) -> "list[FlowRun]":
        from prefect.client.schemas.filters import (
            FlowFilter,
            FlowFilterName,
            FlowRunFilter,
            FlowRunFilterTags,
        )
        from prefect.client.schemas.sorting import FlowRunSort

        tagged = FlowRunFilter(tags=FlowRunFilterTags(all_=[job_tag(job_id)]))

        async def read(due_after: datetime | None, limit: int, offset: int) -> "list[FlowRun]":
            return await self._connection.read(
                lambda client: client.read_flow_runs(
                    flow_filter=FlowFilter(name=FlowFilterName(any_=["notify"])),
                    flow_run_filter=due_since(tagged, due_after),
                    sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                    limit=limit,
                    offset=offset,
                )
            )

        return await read_by_key_async(lambda run: run.expected_start_time, read)

    async def _read_reports(self, runs: "Sequence[FlowRun]") -> dict[UUID, dict[str, Any]]:
        if not runs:
            return {}
        ids = [run.id for run in runs]
        artifacts = await self._connection.read(
            lambda client: read_latest_artifacts_async(client, ids, [DELIVERY_KEY])
        )
        return {run_id: read_data(by_key[DELIVERY_KEY]) for run_id, by_key in artifacts.items()}


def _parse_parameters(run: "FlowRun") -> NotifyJob | None:
    """Return the parameters of an attempt; None for a run created by hand with other parameters."""
    try:
        return NotifyJob.model_validate(run.parameters.get("job"))
    except ValueError:
        return None


def _due_time(run: "FlowRun") -> datetime:
    return run.expected_start_time or run.created or datetime.now(UTC)


def _to_delivery(runs: "Sequence[FlowRun]", reports: dict[UUID, dict[str, Any]]) -> Delivery:
    first = NotifyJob.model_validate(runs[0].parameters["job"])
    scheduled_runs = [run for run in runs if REPLAY not in run.tags]
    delivered = any(DELIVERED in run.tags for run in runs)
    pending_times = [_due_time(run) for run in runs if run.state and run.state.is_scheduled()]
    return Delivery(
        webhook_id=first.webhook_id,
        event=first.event,
        delivered=delivered,
        dead=not delivered and any(DEAD_LETTER in run.tags for run in scheduled_runs),
        next_attempt=min(pending_times, default=None),
        attempts=[_to_attempt(run, reports.get(run.id, {})) for run in runs],
    )


def _to_attempt(run: "FlowRun", report: dict[str, Any]) -> Attempt:
    parameters = NotifyJob.model_validate(run.parameters["job"])
    sent_at = report.get("sent_at")
    return Attempt(
        number=parameters.attempt,
        due=_due_time(run),
        sent=datetime.fromisoformat(sent_at) if sent_at else None,
        status_code=report.get("status_code"),
        outcome=str(report.get("outcome") or _outcome_from_state(run)),
        reason=report.get("reason"),
        replay=parameters.replay,
    )


def _outcome_from_state(run: "FlowRun") -> str:
    """Return the outcome of an attempt without a report, from the state of its run."""
    if run.state is None or run.state.is_scheduled():
        return "scheduled"
    if run.state.is_cancelled():
        return "canceled"
    if run.state.is_final():
        return "crashed"
    return "running"
