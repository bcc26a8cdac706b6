"""Child jobs of a batch or pipeline on Prefect's server: idempotent creation, lookup, cancellation."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling

from flows.prefect_state.artifacts import read_latest_artifacts
from flows.prefect_state.labels import CHILD_KEY_LABEL, CHILD_NAME_LABEL, RETRY_OF_LABEL, parent_tag
from flows.prefect_state.queries import chunks_of, due_since, read_any_of, read_by_key
from flows.prefect_state.run_names import job_run_name
from flows.prefect_state.status import RESULT_KEYS, Status, ended_as, error_of, result_of, status_of
from flows.schemas.control import ENDED_AS_LABEL, REASON_CANCELLED, Control, read_control, tags_for
from flows.schemas.job_types import MEDIA_JOB_TYPES
from tasks.cache.content_keys import content_key
from tasks.run.retry import retry_while_unavailable
from tasks.tracing.spans import current_traceparent, span
from tasks.tracing.traceparent import trace_labels

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_ARTIFACT_BATCH_SIZE: Final = 50
"""Number of runs whose artifacts are read per request."""
_MAX_RETRY_CHAIN: Final = 20
"""Maximum length of a chain of retried runs."""
_UNKNOWN_TIME: Final = datetime.min.replace(tzinfo=UTC)
"""Placeholder for an unknown time; earlier than all others."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """The specification of a child job."""

    name: str
    """Name of the step, or id of the row."""
    type: str
    job: Mapping[str, Any]
    """Request fields as JSON."""
    key: str
    """Hash of the work; equal work has equal keys."""


def child_spec(name: str, job_type: str, job: Mapping[str, Any]) -> ChildSpec:
    """Return the specification of a child job; equal work has equal keys."""
    return ChildSpec(name, job_type, job, content_key(type=job_type, job=dict(job)))


@dataclass(frozen=True, slots=True)
class ChildJob:
    """A child job: the fields of its flow run that are kept in memory."""

    id: UUID
    key: str
    """Hash of its work."""
    is_finished: bool
    is_successful: bool
    """Whether it succeeded."""
    is_created_by_this_run: bool
    """Whether the current run created it."""
    should_retry: bool
    """Whether it failed before this run was (re)started, and is therefore retried."""


@dataclass(frozen=True, slots=True)
class ChildOutcome:
    """The outcome of a child job."""

    status: Status
    result: Mapping[str, Any]
    code: str | None
    message: str | None
    ran_s: float


@dataclass(frozen=True, slots=True)
class _DatedChild:
    """A child job with its creation time."""

    id: UUID
    created: datetime
    due: datetime | None
    """Time at which it was first due."""
    child: ChildJob


class ChildJobs:
    """The child jobs of one run and of the runs that it retries."""

    def __init__(
        self,
        client: "SyncPrefectClient",
        run: FlowRun,
        scope: str | None = None,
        *,
        own_traces: bool = False,
    ) -> None:
        """
        Look up the runs that this run retries.

        Args:
            client: client of the Prefect server.
            run:    the current flow run.
            scope:  child jobs are created once per scope, whichever run requests them. None: once for this
                run and the runs that it retries.
            own_traces: each child job begins a trace, which is linked with that of this run: a trace of
                thousands of jobs can be shown by no tool. Else they belong to the trace of this run.
        """
        self._own_traces = own_traces
        self._client, self._run = client, run
        self._control = read_control(run.parameters)
        self._ancestors = self._find_ancestors()
        self._scope, self._is_shared = scope or str(self.root), scope is not None
        self._last_end = self._find_last_end()
        self._deployments: dict[str, UUID] = {}

    @property
    def root(self) -> UUID:
        """Id of the first run in the chain of retries."""
        return self._ancestors[-1] if self._ancestors else self._run.id

    @property
    def parents(self) -> list[UUID]:
        """Ids of the current run and of the runs that it retries."""
        return [self._run.id, *self._ancestors]

    def _find_ancestors(self) -> list[UUID]:
        ancestors: list[UUID] = []
        run: FlowRun | None = self._run
        while run and RETRY_OF_LABEL in run.labels and len(ancestors) < _MAX_RETRY_CHAIN:
            parent = UUID(str(run.labels[RETRY_OF_LABEL]))
            ancestors.append(parent)
            try:
                run = retry_while_unavailable(lambda parent=parent: self._client.read_flow_run(parent))
            except ObjectNotFound:
                run = None
        return ancestors

    def _find_last_end(self) -> datetime:
        """Return the time at which this run last ended; child jobs that failed before it are retried."""
        states = retry_while_unavailable(lambda: self._client.read_flow_run_states(self._run.id))
        return max(
            (state.timestamp for state in states if state.type in TERMINAL_STATES), default=_UNKNOWN_TIME
        )

    def list_all(self) -> list[ChildJob]:
        """Return all child jobs, oldest first."""
        parent_tags = [parent_tag(run) for run in self.parents]
        run_filter = FlowRunFilter(tags=FlowRunFilterTags(any_=parent_tags))

        def read(due_after: datetime | None, limit: int, offset: int) -> list[_DatedChild]:
            page = retry_while_unavailable(
                lambda: self._client.read_flow_runs(
                    flow_run_filter=due_since(run_filter, due_after),
                    sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                    limit=limit,
                    offset=offset,
                )
            )
            # keep a few fields only: a batch may have 10,000 rows
            return [
                _DatedChild(
                    run.id, run.created or _UNKNOWN_TIME, run.expected_start_time, self._to_child_job(run)
                )
                for run in page
            ]

        children = read_by_key(lambda child: child.due, read)
        return [one.child for one in sorted(children, key=lambda one: one.created)]

    def read(self, ids: Sequence[UUID]) -> list[ChildJob]:
        """Return the current state of some child jobs."""
        return [self._to_child_job(run) for run in self._read_runs(ids)]

    def _read_runs(self, ids: Sequence[UUID]) -> list[FlowRun]:
        def read(chunk: list[UUID], limit: int, offset: int) -> list[FlowRun]:
            run_filter = FlowRunFilter(id=FlowRunFilterId(any_=chunk))
            return retry_while_unavailable(
                lambda: self._client.read_flow_runs(
                    flow_run_filter=run_filter, sort=FlowRunSort.ID_DESC, limit=limit, offset=offset
                )
            )

        return read_any_of(ids, read)

    def _to_child_job(self, run: FlowRun) -> ChildJob:
        is_finished = run.state_type in TERMINAL_STATES
        is_successful = run.state_type == StateType.COMPLETED
        return ChildJob(
            id=run.id,
            key=str(run.labels.get(CHILD_KEY_LABEL, "")),
            is_finished=is_finished,
            is_successful=is_successful,
            is_created_by_this_run=parent_tag(self._run.id) in run.tags,
            should_retry=is_finished and not is_successful and self._failed_before_restart(run),
        )

    def _failed_before_restart(self, run: FlowRun) -> bool:
        if parent_tag(self._run.id) in run.tags:
            return (run.end_time or _UNKNOWN_TIME) <= self._last_end
        is_ancestors = any(parent_tag(ancestor) in run.tags for ancestor in self._ancestors)
        return is_ancestors or (self._is_shared and bool(self._ancestors))

    def create(self, spec: ChildSpec, attempt: int) -> ChildJob:
        """
        Create a child job, or return the existing one with the same idempotency key.

        Args:
            spec:    specification.
            attempt: number of the attempt, from 1.
        """
        parent_control = self._control
        child_control = Control(
            tenant=parent_control.tenant, priority=parent_control.priority, gpu_id=parent_control.gpu_id
        )
        parameters: dict[str, Any] = {"job": dict(spec.job)}
        if control_json := child_control.model_dump(mode="json", exclude_defaults=True):
            parameters["control"] = control_json
        key = content_key(scope=self._scope, work=spec.key, attempt=attempt)
        cause = current_traceparent() if self._own_traces else None
        with span(
            "create run", {"flow": spec.type}, kind="producer", root=self._own_traces, link=cause
        ) as made:
            labels: dict[str, Any] = {CHILD_KEY_LABEL: spec.key, CHILD_NAME_LABEL: spec.name}
            run = retry_while_unavailable(
                lambda: self._client.create_flow_run_from_deployment(
                    self._deployment_id(spec.type),
                    name=job_run_name(
                        spec.type, MEDIA_JOB_TYPES[spec.type].job, spec.job, key, part=spec.name
                    ),
                    parameters=parameters,
                    idempotency_key=key,
                    work_queue_name=child_control.priority,
                    tags=[*tags_for(child_control), parent_tag(self._run.id)],
                    labels=labels | trace_labels(made.parent_of_others),
                )
            )
        return self._to_child_job(run)

    def _deployment_id(self, job_type: str) -> UUID:
        if job_type not in self._deployments:
            name = MEDIA_JOB_TYPES[job_type].deployment
            self._deployments[job_type] = self._client.read_deployment_by_name(name).id
        return self._deployments[job_type]

    def stop_reason(self) -> str | None:
        """Return why the current run is being stopped for good; None if it is not, or will be resumed."""
        run = self._client.read_flow_run(self._run.id)
        is_stopping = run.state_type in (StateType.CANCELLING, StateType.CANCELLED)
        return str(run.labels.get(ENDED_AS_LABEL, REASON_CANCELLED)) if is_stopping else None

    def cancel(self, children: Iterable[ChildJob], reason: str) -> None:
        """Request cancellation of child jobs that the current run created."""
        for child in children:
            if child.is_finished or not child.is_created_by_this_run:
                continue
            retry_while_unavailable(
                lambda part=child: self._client.update_flow_run_labels(part.id, {ENDED_AS_LABEL: reason})
            )
            retry_while_unavailable(lambda part=child: self._client.set_flow_run_state(part.id, Cancelling()))

    def outcomes(self, ids: Sequence[UUID]) -> dict[UUID, ChildOutcome]:
        """Return the outcomes of child jobs: results and errors."""
        outcomes: dict[UUID, ChildOutcome] = {}
        for chunk in chunks_of(ids, _ARTIFACT_BATCH_SIZE):
            runs = self._read_runs(chunk)
            artifacts = read_latest_artifacts(self._client, chunk, RESULT_KEYS)
            outcomes |= {run.id: _to_outcome(run, artifacts.get(run.id, {})) for run in runs}
        return outcomes


def _to_outcome(run: FlowRun, artifacts: Mapping[str, Any]) -> ChildOutcome:
    status, reason = status_of(run), ended_as(run)
    error = error_of(status, reason, artifacts, run.state)
    ran_s = run.total_run_time.total_seconds() if run.total_run_time else 0.0
    return ChildOutcome(
        status,
        result_of(status, artifacts) or {},
        error.code if error else None,
        error.message if error else None,
        round(ran_s, 3),
    )
