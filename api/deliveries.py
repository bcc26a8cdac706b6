"""Webhook deliveries of a job, read from the `notify` runs that made the attempts, and their replay."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from api.prefect_door import patiently
from api.problems import Problem
from api.reports import read_data
from flows.control import Event
from flows.prefect_state.queries import read_any_of_async
from flows.registry import INTERNAL
from flows.webhook_schemas import DEAD, DELIVERED, DELIVERY, REPLAY, NotifyJob, job_tag

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Artifact, FlowRun


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    A delivery attempt, past or scheduled.

    Attributes:
        due:     scheduled time.
        sent:    time at which the request was sent; None if no request was sent.
        outcome: delivered, refused, unreachable, gone or dropped; scheduled or running before the attempt
            has ended; canceled or crashed if it ended without a report.
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


class Deliveries(Protocol):
    """The interface through which routes read and replay webhook deliveries; tests use a fake."""

    async def of(self, job: UUID) -> list[Delivery]:
        """Return the deliveries of a job in the order of their first attempts; empty for an unknown job."""
        ...

    async def replay(self, job: UUID, webhook_id: str) -> Attempt:
        """Schedule one more attempt; raises Problem `not_found` if the job has no delivery of that id."""
        ...


class PrefectDeliveries:
    """Webhook deliveries stored as flow runs on a Prefect server."""

    def __init__(self, connection: "Callable[[], Awaitable[PrefectClient]]") -> None:
        """
        Use a shared connection.

        Args:
            connection: returns the Prefect client, opening it on first use.
        """
        self._connection = connection

    async def of(self, job: UUID) -> list[Delivery]:
        """Return the deliveries of a job."""
        runs = await self._runs(job)
        notes = await self._notes(runs)
        chains: dict[str, list[FlowRun]] = {}
        for run in runs:
            if (asked := _asked(run)) is not None:
                chains.setdefault(asked.webhook_id, []).append(run)
        return [_delivery(chain, notes) for chain in chains.values()]

    async def replay(self, job: UUID, webhook_id: str) -> Attempt:
        """Schedule one attempt for now, without retries."""
        runs = await self._runs(job)
        chain = [asked for run in runs if (asked := _asked(run)) and asked.webhook_id == webhook_id]
        if not chain:
            raise Problem("not_found", "The job has no webhook delivery with this id.")
        # the attempt number is part of the idempotency key, so concurrent requests create one run
        wanted = NotifyJob(run=job, event=chain[0].event, attempt=len(chain) + 1, replay=True)
        made = await patiently(lambda: self._make(wanted, runs[0]))
        return _attempt(made, {})

    async def _make(self, wanted: NotifyJob, like: "FlowRun") -> "FlowRun":
        client = await self._connection()
        deployment = await client.read_deployment_by_name(INTERNAL["notify"].deployment)
        control = like.parameters.get("control")
        return await client.create_flow_run_from_deployment(
            deployment.id,
            parameters={"job": wanted.model_dump(mode="json")} | ({"control": control} if control else {}),
            name=wanted.name,
            idempotency_key=wanted.key,
            tags=[*wanted.tags, *(tag for tag in like.tags if tag.startswith("tenant:"))],
        )

    async def _runs(self, job: UUID) -> "list[FlowRun]":
        from prefect.client.schemas.filters import (
            FlowFilter,
            FlowFilterName,
            FlowRunFilter,
            FlowRunFilterTags,
        )
        from prefect.client.schemas.sorting import FlowRunSort

        client = await self._connection()

        async def read(chunk: list[str], limit: int, offset: int) -> "list[FlowRun]":
            return await client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=["notify"])),
                flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(any_=chunk)),
                sort=FlowRunSort.ID_DESC,
                limit=limit,
                offset=offset,
            )

        return await read_any_of_async([job_tag(job)], read, order=_due)

    async def _notes(self, runs: "Sequence[FlowRun]") -> dict[UUID, dict[str, Any]]:
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

        if not runs:
            return {}
        client = await self._connection()

        async def read(chunk: list[UUID], limit: int, offset: int) -> "list[Artifact]":
            wanted = ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=chunk), key=ArtifactFilterKey(any_=[DELIVERY])
            )
            return await client.read_artifacts(artifact_filter=wanted, limit=limit, offset=offset)

        ids = [run.id for run in runs]
        found = await read_any_of_async(ids, read, order=lambda note: str(note.updated))
        return {note.flow_run_id: read_data(note) for note in found if note.flow_run_id}


def _asked(run: "FlowRun") -> NotifyJob | None:
    """Return the parameters of an attempt; None for a run created by hand with other parameters."""
    try:
        return NotifyJob.model_validate(run.parameters.get("job"))
    except ValueError:
        return None


def _due(run: "FlowRun") -> datetime:
    return run.expected_start_time or run.created or datetime.now(UTC)


def _delivery(chain: "Sequence[FlowRun]", notes: dict[UUID, dict[str, Any]]) -> Delivery:
    first = NotifyJob.model_validate(chain[0].parameters["job"])
    tried = [run for run in chain if REPLAY not in run.tags]
    delivered = any(DELIVERED in run.tags for run in chain)
    waiting = [_due(run) for run in chain if run.state and run.state.is_scheduled()]
    return Delivery(
        webhook_id=first.webhook_id,
        event=first.event,
        delivered=delivered,
        dead=not delivered and any(DEAD in run.tags for run in tried),
        next_attempt=min(waiting, default=None),
        attempts=[_attempt(run, notes.get(run.id, {})) for run in chain],
    )


def _attempt(run: "FlowRun", note: dict[str, Any]) -> Attempt:
    asked = NotifyJob.model_validate(run.parameters["job"])
    sent = note.get("sent_at")
    return Attempt(
        number=asked.attempt,
        due=_due(run),
        sent=datetime.fromisoformat(sent) if sent else None,
        status_code=note.get("status_code"),
        outcome=str(note.get("outcome") or _standing(run)),
        reason=note.get("reason"),
        replay=asked.replay,
    )


def _standing(run: "FlowRun") -> str:
    """Return the outcome of an attempt without a report, from the state of its run."""
    if run.state is None or run.state.is_scheduled() or run.state.is_pending():
        return "scheduled"
    if run.state.is_cancelled():
        return "canceled"
    if run.state.is_final():
        return "crashed"
    return "running"
