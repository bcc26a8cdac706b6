"""Child jobs of a batch or pipeline on Prefect's server: idempotent creation, lookup, cancellation."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, Artifact, FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling

from flows.chains.patience import patiently
from flows.control import CANCELLED, ENDED_AS, Control, read_control, tags
from flows.family import NAME, RETRY_OF, WORK, part_of
from flows.job_types import WORK_TYPES
from flows.outcome import NOTES, Status, ended_as, error_of, result_of, status_of
from flows.prefect_state.queries import chunks_of, read_any_of
from tasks.keys import content_key

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_NOTES_AT_ONCE: Final = 50
"""Number of runs whose artifacts are read per request."""
_GENERATIONS: Final = 20
"""Maximum length of a chain of retried runs."""
_EARLIER: Final = datetime.min.replace(tzinfo=UTC)
"""Stands for an unknown time; earlier than all others."""


@dataclass(frozen=True, slots=True)
class Work:
    """The specification of a child job."""

    name: str
    """Name of the step, or id of the row."""
    type: str
    job: Mapping[str, Any]
    """Request fields as JSON."""
    key: str
    """Hash of the work; equal work has equal keys."""


def work(name: str, job_type: str, job: Mapping[str, Any]) -> Work:
    """Return the specification of a child job; equal work has equal keys."""
    return Work(name, job_type, job, content_key(type=job_type, job=dict(job)))


@dataclass(frozen=True, slots=True)
class Part:
    """A child job: the fields of its flow run that are kept in memory."""

    id: UUID
    key: str
    """Hash of its work."""
    is_over: bool
    is_done: bool
    """Whether it succeeded."""
    is_own: bool
    """Whether the current run created it."""
    is_told: bool
    """Whether it failed before this run was (re)started, and is therefore retried."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The outcome of a child job."""

    status: Status
    result: Mapping[str, Any]
    code: str | None
    message: str | None
    ran_s: float


@dataclass(frozen=True, slots=True)
class _Dated:
    """A child job with its creation time."""

    id: UUID
    created: datetime
    part: Part


class Parts:
    """The child jobs of one run and of the runs that it retries."""

    def __init__(self, client: "SyncPrefectClient", run: FlowRun, scope: str | None = None) -> None:
        """
        Look up the runs that this run retries.

        Args:
            client: client of the Prefect server.
            run:    the current flow run.
            scope:  child jobs are created once per scope, whichever run requests them. None: once for this
                run and the runs that it retries.
        """
        self._client, self._run = client, run
        self._control = read_control(run.parameters)
        self._ancestors = self._find_ancestors()
        self._scope, self._is_shared = scope or str(self.root), scope is not None
        self._told_until = self._find_told_until()
        self._deployments: dict[str, UUID] = {}

    @property
    def root(self) -> UUID:
        """Id of the first run in the chain of retries."""
        return self._ancestors[-1] if self._ancestors else self._run.id

    def _find_ancestors(self) -> list[UUID]:
        found: list[UUID] = []
        run: FlowRun | None = self._run
        while run and RETRY_OF in run.labels and len(found) < _GENERATIONS:
            parent = UUID(str(run.labels[RETRY_OF]))
            found.append(parent)
            try:
                run = patiently(lambda parent=parent: self._client.read_flow_run(parent))
            except ObjectNotFound:
                run = None
        return found

    def _find_told_until(self) -> datetime:
        """Return the time at which this run last ended; child jobs that failed before it are retried."""
        states = patiently(lambda: self._client.read_flow_run_states(self._run.id))
        return max((state.timestamp for state in states if state.type in TERMINAL_STATES), default=_EARLIER)

    def all(self) -> list[Part]:
        """Return all child jobs, oldest first."""

        def read(chunk: list[str], limit: int, offset: int) -> list[_Dated]:
            wanted = FlowRunFilter(tags=FlowRunFilterTags(any_=chunk))
            page = patiently(
                lambda: self._client.read_flow_runs(
                    flow_run_filter=wanted, sort=FlowRunSort.ID_DESC, limit=limit, offset=offset
                )
            )
            # keep a few fields only: a batch may have 10,000 rows
            return [_Dated(run.id, run.created or _EARLIER, self._part(run)) for run in page]

        marks = [part_of(run) for run in (self._run.id, *self._ancestors)]
        return [one.part for one in read_any_of(marks, read, order=lambda one: one.created)]

    def read(self, ids: Sequence[UUID]) -> list[Part]:
        """Return the current state of some child jobs."""
        return [self._part(run) for run in self._runs(ids)]

    def _runs(self, ids: Sequence[UUID]) -> list[FlowRun]:
        def read(chunk: list[UUID], limit: int, offset: int) -> list[FlowRun]:
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=chunk))
            return patiently(
                lambda: self._client.read_flow_runs(
                    flow_run_filter=wanted, sort=FlowRunSort.ID_DESC, limit=limit, offset=offset
                )
            )

        return read_any_of(ids, read)

    def _part(self, run: FlowRun) -> Part:
        is_over = run.state_type in TERMINAL_STATES
        is_done = run.state_type == StateType.COMPLETED
        return Part(
            id=run.id,
            key=str(run.labels.get(WORK, "")),
            is_over=is_over,
            is_done=is_done,
            is_own=part_of(self._run.id) in run.tags,
            is_told=is_over and not is_done and self._was_told(run),
        )

    def _was_told(self, run: FlowRun) -> bool:
        if part_of(self._run.id) in run.tags:
            return (run.end_time or _EARLIER) <= self._told_until
        is_ancestors = any(part_of(ancestor) in run.tags for ancestor in self._ancestors)
        return is_ancestors or (self._is_shared and bool(self._ancestors))

    def start(self, wanted: Work, attempt: int) -> Part:
        """
        Create a child job, or return the existing one with the same idempotency key.

        Args:
            spec:    specification.
            attempt: number of the attempt, from 1.
        """
        theirs = self._control
        own = Control(tenant=theirs.tenant, priority=theirs.priority, gpu_id=theirs.gpu_id)
        parameters: dict[str, Any] = {"job": dict(wanted.job)}
        if wishes := own.model_dump(mode="json", exclude_defaults=True):
            parameters["control"] = wishes
        key = content_key(scope=self._scope, work=wanted.key, attempt=attempt)
        run = patiently(
            lambda: self._client.create_flow_run_from_deployment(
                self._deployment(wanted.type),
                name=f"{wanted.type}-{wanted.name}-{key[:6]}",
                parameters=parameters,
                idempotency_key=key,
                work_queue_name=own.priority,
                tags=[*tags(own), part_of(self._run.id)],
                labels={WORK: wanted.key, NAME: wanted.name},
            )
        )
        return self._part(run)

    def _deployment(self, job_type: str) -> UUID:
        if job_type not in self._deployments:
            name = WORK_TYPES[job_type].deployment
            self._deployments[job_type] = self._client.read_deployment_by_name(name).id
        return self._deployments[job_type]

    def why_ended(self) -> str | None:
        """Return the reason why the current run is being stopped; None if it is not and will resume."""
        run = self._client.read_flow_run(self._run.id)
        ending = run.state_type in (StateType.CANCELLING, StateType.CANCELLED)
        return str(run.labels.get(ENDED_AS, CANCELLED)) if ending else None

    def cancel(self, parts: Iterable[Part], word: str) -> None:
        """Request cancellation of child jobs that the current run created."""
        for part in parts:
            if part.is_over or not part.is_own:
                continue
            patiently(lambda part=part: self._client.update_flow_run_labels(part.id, {ENDED_AS: word}))
            patiently(lambda part=part: self._client.set_flow_run_state(part.id, Cancelling()))

    def ended(self, ids: Sequence[UUID]) -> dict[UUID, Ended]:
        """Return the outcomes of child jobs: results and errors."""
        found: dict[UUID, Ended] = {}
        for some in chunks_of(ids, _NOTES_AT_ONCE):
            runs, notes = self._runs(some), self._notes(some)
            found |= {run.id: _ended(run, notes.get(run.id, {})) for run in runs}
        return found

    def _notes(self, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
        def read(chunk: list[UUID], limit: int, offset: int) -> list[Artifact]:
            wanted = ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=chunk), key=ArtifactFilterKey(any_=list(NOTES))
            )
            return patiently(
                lambda: self._client.read_artifacts(artifact_filter=wanted, limit=limit, offset=offset)
            )

        found = read_any_of(ids, read)
        notes: dict[UUID, dict[str, Any]] = {}
        for note in sorted(found, key=lambda note: str(note.updated)):  # keep the newest per key
            if note.flow_run_id:
                notes.setdefault(note.flow_run_id, {})[str(note.key)] = note
        return notes


def _ended(run: FlowRun, notes: Mapping[str, Any]) -> Ended:
    status, word = status_of(run), ended_as(run)
    error = error_of(status, word, notes, run.state)
    ran_s = run.total_run_time.total_seconds() if run.total_run_time else 0.0
    return Ended(
        status,
        result_of(status, notes) or {},
        error.code if error else None,
        error.message if error else None,
        round(ran_s, 3),
    )
