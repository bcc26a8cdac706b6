"""Mapping of Prefect flow runs, states, tags and labels to jobs of the API."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from api.reports import read_progress
from api.runs import Run
from flows.control import read_control
from flows.family import NAME, PART_OF, RETRY_OF, WAITING
from flows.outcome import PROGRESS, STATE_TYPES, Status, ended_as, error_of, result_of, status_of

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

TAG: Final = "tag:"
"""Prefix of the caller's tags, which separates them from internal tags."""
METADATA: Final = "musetalk.metadata."
"""Prefix of the labels that hold the caller's metadata."""
REMOVED: Final = "musetalk.removed"
"""Label of a deleted job."""


def state_types(statuses: frozenset[Status]) -> list[str]:
    """Return the types of Prefect states that can map to one of the statuses."""
    near: Mapping[str, Status] = {"scheduled": "queued", "aborted": "canceled"}
    wanted = {near.get(status, status) for status in statuses}
    return [kind for kind, status in STATE_TYPES.items() if status in wanted]


def state_filter(statuses: frozenset[Status]) -> Any:
    """Return the Prefect filter for runs that can have one of the statuses; None for no filter."""
    from prefect.client.schemas.filters import (
        FlowRunFilterState,
        FlowRunFilterStateName,
        FlowRunFilterStateType,
        Operator,
    )
    from prefect.client.schemas.objects import StateType

    kinds = [StateType(kind) for kind in state_types(statuses)]
    if not kinds:
        return None
    if "running" not in statuses:
        return FlowRunFilterState(type=FlowRunFilterStateType(any_=kinds))
    # a waiting parent that gave up its worker slot counts as running, but its state type is SCHEDULED,
    # then PENDING
    return FlowRunFilterState(
        operator=Operator.or_,  # pyright: ignore[reportCallIssue]  from a mixin
        type=FlowRunFilterStateType(any_=list({*kinds, StateType.PENDING})),
        name=FlowRunFilterStateName(any_=[WAITING, "Suspended"]),
    )


def to_run(found: "FlowRun", job_type: str, notes: Mapping[str, Any], *, replayed: bool = False) -> Run:
    """
    Convert a flow run to a job.

    Args:
        flow_run:  the flow run.
        job_type:  name of its flow.
        artifacts: its artifacts by key.
        replayed:  see `Job.replayed`.
    """
    status, word, labels = status_of(found), ended_as(found), found.labels
    parent = labels.get(RETRY_OF)
    return Run(
        id=found.id,
        type=job_type,
        status=status,
        created=found.created,
        started=found.start_time,
        ended=found.end_time,
        progress=read_progress(notes.get(PROGRESS)),
        result=result_of(status, notes),
        error=error_of(status, word, notes, found.state),
        cancel_requested=found.state_type == "CANCELLING",
        paused=found.state_type == "PAUSED",
        ended_as=word if status in {"canceled", "aborted"} else None,
        tags=tuple(sorted(tag.removeprefix(TAG) for tag in found.tags if tag.startswith(TAG))),
        metadata={
            name.removeprefix(METADATA): str(value)
            for name, value in sorted(labels.items())
            if name.startswith(METADATA)
        },
        control=read_control(found.parameters),
        retry_of=UUID(str(parent)) if parent else None,
        replayed=replayed,
        job=dict(found.parameters.get("job") or {}),
        part_of=_parent(found),
        part=str(labels[NAME]) if NAME in labels else None,
    )


def _parent(found: "FlowRun") -> UUID | None:
    for tag in found.tags:
        if tag.startswith(PART_OF):
            try:
                return UUID(tag.removeprefix(PART_OF))
            except ValueError:  # a tag that this project did not set
                continue
    return None
