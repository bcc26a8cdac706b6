"""
A simulated Prefect server: flow runs, states, artifacts and workers.

Each public method is one request, which happens at one moment. `client.py` calls them over a network with
faults; the names and arguments are those of `PrefectClient`.
"""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import Artifact, FlowRun, FlowRunPolicy, StateType
from prefect.client.schemas.responses import (
    OrchestrationResult,
    SetStateStatus,
    StateAbortDetails,
    StateAcceptDetails,
    StateRejectDetails,
    StateWaitDetails,
)
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from simulator import queries, rules
from simulator.events import EventBus
from simulator.limits import Limits
from simulator.world import World

ONLINE_FOR = timedelta(seconds=90)
PAGE = 200


class Server(Limits):
    """The server of one history. It keeps everything that was ever stored, for the invariants."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.events = EventBus(world)
        self.is_up = True
        self.runs: dict[UUID, Any] = {}
        self.history: dict[UUID, list[Any]] = {}
        self.artifacts: dict[UUID, Any] = {}
        self.variables: dict[str, Any] = {}
        self.workers: dict[tuple[str, str], Any] = {}
        self.pools: dict[str, Any] = {}
        self.queues: dict[UUID, Any] = {}
        self.flows: dict[UUID, Any] = {}
        self.deployments: dict[UUID, Any] = {}
        self._by_key: dict[tuple[UUID, str], UUID] = {}
        self._used_transitions: set[UUID] = set()

    # what is deployed

    def deploy(self, flow: str, name: str, pool: str, tags: list[str]) -> None:
        """Create a deployment of a flow, and its work pool."""
        if pool not in self.pools:
            self.pools[pool] = SimpleNamespace(
                id=self.world.uuid(), name=pool, base_job_template={}, is_paused=False
            )
            for priority, queue in enumerate(("high", "normal", "low", "default"), 1):
                queue_id = self.world.uuid()
                self.queues[queue_id] = SimpleNamespace(
                    id=queue_id, name=queue, pool=pool, priority=priority, is_paused=False
                )
        flow_id, deployment_id = self.world.uuid(), self.world.uuid()
        self.flows[flow_id] = SimpleNamespace(id=flow_id, name=flow)
        self.deployments[deployment_id] = SimpleNamespace(
            id=deployment_id,
            name=name,
            flow_id=flow_id,
            pool=pool,
            tags=tags,
            entrypoint=None,
            pull_steps=None,
        )

    def _flow_name(self, run: Any) -> str:
        return self.flows[run.flow_id].name

    def read_deployment_by_name(self, name: str) -> Any:
        flow, _, title = name.partition("/")
        for deployment in self.deployments.values():
            if deployment.name == title and self.flows[deployment.flow_id].name == flow:
                return deployment
        raise ObjectNotFound(LookupError(name))

    def read_deployment(self, deployment_id: UUID) -> Any:
        return self.deployments[deployment_id]

    def read_flow(self, flow_id: UUID) -> Any:
        return self.flows[flow_id]

    # flow runs

    def create_flow_run_from_deployment(
        self,
        deployment_id: UUID,
        *,
        parameters: Any = None,
        state: Any = None,
        name: str | None = None,
        tags: Any = None,
        idempotency_key: str | None = None,
        work_queue_name: str | None = None,
        labels: Any = None,
        **others: Any,
    ) -> Any:
        if any(value is not None for value in others.values()):
            raise queries.NotSimulated(f"creation of flow runs with {sorted(others)}")
        deployment = self.deployments[deployment_id]
        existing = self._by_key.get((deployment.flow_id, idempotency_key or ""))
        if existing is not None:
            return copy_of(self.runs[existing])
        queue = work_queue_name or "default"
        queue_id = next(
            one.id for one in self.queues.values() if (one.pool, one.name) == (deployment.pool, queue)
        )
        now = self.world.wall()
        run = FlowRun.model_construct(
            id=self.world.uuid(),
            created=now,
            updated=now,
            name=name or "run",
            flow_id=deployment.flow_id,
            deployment_id=deployment.id,
            work_queue_name=queue,
            work_queue_id=queue_id,
            work_pool_id=self.pools[deployment.pool].id,
            work_pool_name=deployment.pool,
            parameters=dict(parameters or {}),
            idempotency_key=idempotency_key,
            empirical_policy=FlowRunPolicy(),
            tags=sorted({*deployment.tags, *(tags or [])}),
            labels=dict(labels or {}),
            run_count=0,
            total_run_time=timedelta(),
            state=None,
            state_id=None,
            state_type=None,
            state_name=None,
            expected_start_time=None,
            next_scheduled_start_time=None,
            start_time=None,
            end_time=None,
        )
        self.runs[run.id], self.history[run.id] = run, []
        if idempotency_key:
            self._by_key[deployment.flow_id, idempotency_key] = run.id
        self._store_state(run, self._minted(run.id, state or Scheduled()))
        return copy_of(run)

    def _minted(self, run_id: UUID, state: Any) -> Any:
        details = state.state_details.model_copy(update={"flow_run_id": run_id})
        now = self.world.wall()
        if state.type == StateType.SCHEDULED and not details.scheduled_time:
            details.scheduled_time = now
        past = self.history[run_id]
        if past and past[-1].timestamp >= now:
            now = past[-1].timestamp + timedelta(microseconds=1)
        return state.model_copy(update={"id": self.world.uuid(), "timestamp": now, "state_details": details})

    def _store_state(self, run: Any, state: Any) -> None:
        initial = run.state
        rules.apply(run, state)
        self.history[run.id].append(state)
        self.world.monitor.on_state(run, initial)
        self.world.cover("state", self._flow_name(run), initial.name if initial else None, state.name)
        self.world.note(
            f"{self._flow_name(run)} {str(run.id)[:8]} is {state.name}"
            + (f": {state.message}" if state.message else "")
        )
        pool = self.pools[run.work_pool_name]
        self.events.emit(
            f"prefect.flow-run.{state.name}",
            f"prefect.flow-run.{run.id}",
            [("tag", f"prefect.tag.{tag}") for tag in run.tags]
            + [("work-pool", f"prefect.work-pool.{pool.id}")],
        )

    def _run(self, run_id: UUID) -> Any:
        run = self.runs.get(run_id)
        if run is None:
            raise ObjectNotFound(LookupError(run_id))
        return run

    def set_flow_run_state(self, flow_run_id: UUID, state: Any, force: bool = False) -> Any:
        run = self._run(flow_run_id)
        proposed = state.model_copy(update={"state_details": state.state_details.model_copy()})
        verdict = rules.judge(run.state, proposed, force=force, now=self.world.wall())
        status = SetStateStatus(verdict.status)
        self.world.cover("verdict", run.state.name, state.name, verdict.status)
        if verdict.status == "WAIT":
            details: Any = StateWaitDetails.model_construct(
                delay_seconds=verdict.delay_s, reason=verdict.reason
            )
            return OrchestrationResult.model_construct(state=None, status=status, details=details)
        if verdict.state is not None:
            self._store_state(run, self._minted(run.id, verdict.state))
        if verdict.status == "ABORT":
            details = StateAbortDetails.model_construct(reason=verdict.reason)
            return OrchestrationResult.model_construct(state=None, status=status, details=details)
        kind = StateAcceptDetails if verdict.status == "ACCEPT" else StateRejectDetails
        details = kind.model_construct(reason=verdict.reason)
        return OrchestrationResult.model_construct(state=run.state, status=status, details=details)

    def resume_flow_run(self, flow_run_id: UUID) -> Any:
        run = self._run(flow_run_id)
        if run.state_type != StateType.PAUSED:
            details = StateAbortDetails.model_construct(reason="Cannot resume a flow run that is not paused.")
            return OrchestrationResult.model_construct(
                state=None, status=SetStateStatus.ABORT, details=details
            )
        name = "Resuming" if run.state.state_details.pause_reschedule else "Running"
        return self.set_flow_run_state(flow_run_id, Scheduled(name=name, scheduled_time=self.world.wall()))

    def read_flow_run(self, flow_run_id: UUID) -> Any:
        return copy_of(self._run(flow_run_id))

    def read_flow_run_states(self, flow_run_id: UUID) -> list[Any]:
        self._run(flow_run_id)
        return list(self.history[flow_run_id])

    def _select(
        self, *, flow_filter: Any, flow_run_filter: Any, work_pool_filter: Any, work_queue_filter: Any
    ) -> Any:
        wanted = queries.chosen(queries.chosen(flow_run_filter).get("id")).get("any_")
        candidates = (
            list(self.runs.values()) if wanted is None else [self.runs[i] for i in wanted if i in self.runs]
        )
        return [
            run
            for run in candidates
            if queries.run_matches(run, flow_run_filter)
            and queries.name_or_id_matches(run.flow_id, self._flow_name(run), flow_filter)
            and queries.name_or_id_matches(run.work_pool_id, run.work_pool_name, work_pool_filter)
            and queries.name_or_id_matches(run.work_queue_id, run.work_queue_name, work_queue_filter)
        ]

    def read_flow_runs(
        self,
        *,
        flow_filter: Any = None,
        flow_run_filter: Any = None,
        work_pool_filter: Any = None,
        work_queue_filter: Any = None,
        sort: Any = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Any]:
        found = self._select(
            flow_filter=flow_filter,
            flow_run_filter=flow_run_filter,
            work_pool_filter=work_pool_filter,
            work_queue_filter=work_queue_filter,
        )
        size = min(limit or PAGE, PAGE)
        return [copy_of(run) for run in queries.in_order(found, sort)[offset : offset + size]]

    def count_flow_runs(self, *, flow_filter: Any = None, flow_run_filter: Any = None, **others: Any) -> int:
        if others:
            raise queries.NotSimulated(f"count of flow runs by {sorted(others)}")
        return len(
            self._select(
                flow_filter=flow_filter,
                flow_run_filter=flow_run_filter,
                work_pool_filter=None,
                work_queue_filter=None,
            )
        )

    def get_scheduled_flow_runs_for_work_pool(
        self, work_pool_name: str, work_queue_names: list[str] | None = None, scheduled_before: Any = None
    ) -> list[Any]:
        due = [
            run
            for run in self.runs.values()
            if run.work_pool_name == work_pool_name
            and run.state_type == StateType.SCHEDULED
            and run.next_scheduled_start_time <= scheduled_before
            and (not work_queue_names or run.work_queue_name in work_queue_names)
        ]
        due.sort(key=lambda run: (self.queues[run.work_queue_id].priority, run.next_scheduled_start_time))
        return [SimpleNamespace(flow_run=copy_of(run)) for run in due[:PAGE]]

    def update_flow_run_labels(self, flow_run_id: UUID, labels: Any) -> None:
        run = self._run(flow_run_id)
        run.labels = {**run.labels, **labels}
        self.world.monitor.on_labels(run)

    def update_flow_run(
        self, flow_run_id: UUID, *, parameters: Any = None, name: str | None = None, tags: Any = None
    ) -> None:
        run = self._run(flow_run_id)
        run.parameters = run.parameters if parameters is None else dict(parameters)
        run.name = name or run.name
        run.tags = run.tags if tags is None else sorted(tags)

    # artifacts and variables

    def create_artifact(
        self,
        run_id: Any,
        key: str | None = None,
        kind: str | None = None,
        data: Any = None,
        description: Any = None,
    ) -> UUID:
        """Store an artifact: what `prefect.artifacts` sends, or an `ArtifactCreate`."""
        if isinstance(run_id, ArtifactCreate):
            new = run_id
            return self.create_artifact(new.flow_run_id, new.key, new.type, new.data, new.description)
        now = self.world.wall()
        artifact = Artifact.model_construct(
            id=self.world.uuid(),
            created=now,
            updated=now,
            key=key,
            type=kind,
            data=data,
            description=description,
            flow_run_id=run_id,
            task_run_id=None,
            metadata_=None,
        )
        self.artifacts[artifact.id] = artifact
        return artifact.id

    def update_artifact(self, artifact_id: UUID, artifact: Any) -> None:
        stored = self.artifacts.get(artifact_id)
        if stored is None:
            raise ObjectNotFound(LookupError(artifact_id))
        changes = {**artifact.model_dump(exclude_unset=True), "updated": self.world.wall()}
        self.artifacts[artifact_id] = stored.model_copy(update=changes)

    def read_artifacts(
        self, *, artifact_filter: Any = None, limit: int | None = None, offset: int = 0
    ) -> list[Any]:
        found = [one for one in self.artifacts.values() if queries.artifact_matches(one, artifact_filter)]
        return found[offset : offset + min(limit or PAGE, PAGE)]

    def delete_artifact(self, artifact_id: UUID) -> None:
        if self.artifacts.pop(artifact_id, None) is None:
            raise ObjectNotFound(LookupError(artifact_id))

    # workers and pools

    def send_worker_heartbeat(self, pool: str, name: str) -> None:
        self.workers[pool, name] = SimpleNamespace(
            name=name, last_heartbeat_time=self.world.wall(), status="ONLINE"
        )

    def read_workers_for_work_pool(self, work_pool_name: str) -> list[Any]:
        now = self.world.wall()
        return [
            SimpleNamespace(
                name=worker.name,
                last_heartbeat_time=worker.last_heartbeat_time,
                status="ONLINE" if now - worker.last_heartbeat_time < ONLINE_FOR else "OFFLINE",
            )
            for (pool, _), worker in self.workers.items()
            if pool == work_pool_name
        ]

    def read_work_queues(
        self, work_pool_name: str | None = None, limit: int | None = None, **others: Any
    ) -> list[Any]:
        return [queue for queue in self.queues.values() if queue.pool == work_pool_name]

    def read_events(self, filter: Any = None, limit: int = 100) -> Any:
        return self.events.read(filter, limit)

    def api_healthcheck(self) -> None:
        return None


def copy_of(run: Any) -> Any:
    """Return a copy of a run as a client receives it."""
    return run.model_copy(update={"labels": dict(run.labels), "tags": list(run.tags)})
