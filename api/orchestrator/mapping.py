"""Mapping of Prefect flow runs, states, tags and labels to jobs of the API."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from api.jobs.model import Job
from flows.prefect_state.labels import CHILD_NAME_LABEL, PARENT_TAG, RETRY_OF_LABEL, WAITING_STATE
from flows.prefect_state.status import (
    PROGRESS_KEY,
    STATUS_BY_STATE_TYPE,
    Status,
    client_mark,
    ended_as,
    error_of,
    read_progress,
    result_of,
    status_of,
)
from flows.schemas.control import read_control
from tasks.storage.redaction import redact_secrets

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

TAG_PREFIX: Final = "tag:"
"""Prefix of the caller's tags, which separates them from internal tags."""
METADATA_LABEL_PREFIX: Final = "musetalk.metadata."
"""Prefix of the labels that hold the caller's metadata."""
REMOVED_LABEL: Final = "musetalk.removed"
"""Label of a deleted job."""

_ANY_RUN: Final = UUID(int=0)


def state_types(statuses: frozenset[Status]) -> list[str]:
    """Return the types of Prefect states that can map to one of the statuses."""
    closest_status: Mapping[str, Status] = {"scheduled": "queued", "aborted": "canceled"}
    expected = {closest_status.get(status, status) for status in statuses}
    return [kind for kind, status in STATUS_BY_STATE_TYPE.items() if status in expected]


def state_filter(statuses: frozenset[Status]) -> Any:
    """Return the Prefect filter for runs that can have one of the statuses; None for no filter."""
    from prefect.client.schemas.filters import (
        FlowRunFilterState,
        FlowRunFilterStateName,
        FlowRunFilterStateType,
        Operator,
    )
    from prefect.client.schemas.objects import StateType

    types = [StateType(kind) for kind in state_types(statuses)]
    if not types:
        return None
    if "running" not in statuses:
        return FlowRunFilterState(type=FlowRunFilterStateType(any_=types))
    # a waiting parent that gave up its worker slot counts as running, but its state type is SCHEDULED,
    # then PENDING
    return FlowRunFilterState(
        operator=Operator.or_,  # pyright: ignore[reportCallIssue]  from a mixin
        type=FlowRunFilterStateType(any_=list({*types, StateType.PENDING})),
        name=FlowRunFilterStateName(any_=[WAITING_STATE, "Suspended"]),
    )


def to_job(
    flow_run: "FlowRun", job_type: str, artifacts: Mapping[str, Any], *, replayed: bool = False
) -> Job:
    """
    Convert a flow run to a job.

    Args:
        flow_run:  the flow run.
        job_type:  name of its flow.
        artifacts: its artifacts by key.
        replayed:  see `Job.replayed`.
    """
    status, end_reason, labels = status_of(flow_run), ended_as(flow_run), flow_run.labels
    retried_job = labels.get(RETRY_OF_LABEL)
    return Job(
        id=flow_run.id,
        type=job_type,
        status=status,
        created=flow_run.created,
        started=flow_run.start_time,
        ended=flow_run.end_time,
        progress=read_progress(artifacts.get(PROGRESS_KEY)),
        result=result_of(status, artifacts),
        error=error_of(status, end_reason, artifacts, flow_run.state),
        cancel_requested=flow_run.state_type == "CANCELLING",
        paused=flow_run.state_type == "PAUSED",
        ended_as=end_reason if status in {"canceled", "aborted"} else None,
        mark=client_mark(flow_run),
        tags=tuple(
            sorted(tag.removeprefix(TAG_PREFIX) for tag in flow_run.tags if tag.startswith(TAG_PREFIX))
        ),
        metadata={
            name.removeprefix(METADATA_LABEL_PREFIX): str(value)
            for name, value in sorted(labels.items())
            if name.startswith(METADATA_LABEL_PREFIX)
        },
        control=read_control(flow_run.parameters),
        retry_of=UUID(str(retried_job)) if retried_job else None,
        replayed=replayed,
        parameters=dict(flow_run.parameters.get("job") or {}),
        name=flow_run.name,
        part_of=_parent_id(flow_run),
        part=str(labels[CHILD_NAME_LABEL]) if CHILD_NAME_LABEL in labels else None,
        run_url=_run_url(flow_run.id),
    )


def _run_url(run_id: UUID) -> str | None:
    address = _run_address()
    return address.replace(str(_ANY_RUN), str(run_id)) if address else None


@lru_cache(maxsize=1)
def _run_address() -> str | None:
    """Return the address of a run's page in Prefect's UI, with the id `_ANY_RUN`."""
    from prefect.utilities.urls import url_for

    url = url_for("flow-run", obj_id=str(_ANY_RUN))
    return redact_secrets(url) if url else None


def _parent_id(flow_run: "FlowRun") -> UUID | None:
    for tag in flow_run.tags:
        if tag.startswith(PARENT_TAG):
            try:
                return UUID(tag.removeprefix(PARENT_TAG))
            except ValueError:  # a tag that this project did not set
                continue
    return None
