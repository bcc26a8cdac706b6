"""Invariants that are checked while a history runs. Each names its row in docs/promises.md."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import StateType

from flows.prefect_state.attempts import RETRY_STATE
from flows.prefect_state.labels import WAITING_STATE
from flows.prefect_state.status import FINAL_STATUSES, status_of
from simulator.rules import TERMINAL
from simulator.world import Process, World

MAX_STATUS_AGE_S = 1.0
"""Promised age of a status."""
MAX_ATTEMPTS = 5
RELEASED_AFTER_S = 5.0
TENANT = "tenant:"
_WITHOUT_SLOT = {"chain", "housekeeping"}


@dataclass(eq=False)
class Execution:
    """One execution of a run's body in a child process."""

    run_id: UUID
    flow: str
    tenant: str | None
    child: Process
    worker: Process
    started: float
    states: int
    """Number of states that the run had had."""
    ended: float | None = None

    @property
    def is_live(self) -> bool:
        """Whether it runs, under a worker that lives."""
        return self.ended is None and self.child.is_alive and self.worker.is_alive


class Monitor:
    """Watches states and executions as they happen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.executions: list[Execution] = []
        self.was_cut_off: dict[Process, float] = {}
        """Virtual time of the last partition of a worker; after one, another may take over its runs."""
        self.has_outages = False
        self.limits_are_strict = True
        """Whether the number of running jobs of a tenant is exact: no lease can be lost in this history."""
        self.releases_are_prompt = False
        """Whether the slot of an ended run is free within RELEASED_AFTER_S: nothing fails in this history."""
        self.ends: dict[UUID, Any] = {}
        """First final state of the runs that were changed after it."""
        self.statuses: dict[UUID, list[tuple[float, str]]] = {}

    # states

    def on_state(self, run: Any, initial: Any) -> None:
        """Check a change of state, after it was stored."""
        self.statuses.setdefault(run.id, []).append((self.world.loop.now, status_of(run)))
        if run.state_name == "Crashed" and "could not execute it" in (run.state.message or ""):
            self.world.violate("no surprise", f"{self._name(run)} is Crashed: {run.state.message}")
        if initial is None or initial.type not in TERMINAL:
            return
        self.ends.setdefault(run.id, initial.type)
        if run.state_type == initial.type:
            return  # two that stop it at once write the same end
        if run.state_type == StateType.PENDING:
            self.world.cover("late claim", initial.type)  # Prefect lets it; the worker undoes it
            return
        if run.state_name == RETRY_STATE and " was lost: " in run.state.message:
            self.world.cover("late requeue", initial.type)  # the same
            return
        is_late_stop = run.state_type == StateType.CANCELLED and initial.type in {
            StateType.FAILED,
            StateType.CRASHED,
        }
        if not is_late_stop:
            self.world.violate(
                "State of a job: ended states are final",
                f"{self._name(run)} was {initial.name} and is {run.state_name} ({run.state.message})",
            )

    def on_labels(self, run: Any) -> None:
        """Record the status of a run whose labels were changed: it depends on them, too."""
        if run.id in self.statuses:
            self.statuses[run.id].append((self.world.loop.now, status_of(run)))

    def _name(self, run: Any) -> str:
        return f"{self.world.server.flows[run.flow_id].name} {str(run.id)[:8]}"

    # executions

    def begin(self, run: Any, child: Process) -> None:
        """Check that a run may be executed now."""
        worker = next(one for one in self.world.processes.values() if child in one.children)
        takes_slot = _WITHOUT_SLOT.isdisjoint(run.tags)
        tenant = next((tag for tag in run.tags if tag.startswith(TENANT) and takes_slot), None)
        flow = self.world.server.flows[run.flow_id].name
        history = self.world.server.history[run.id]
        for other in self.executions:
            was_resumed = any(state.name == "Resuming" for state in history)
            # it has given up its slot and waits for a response that was lost
            has_yielded = any(state.name == WAITING_STATE for state in history[other.states :])
            # the former attempt ends at its next look
            is_allowed = was_resumed or has_yielded or other.worker in self.was_cut_off
            if other.run_id == run.id and other.is_live and not is_allowed:
                self.world.violate(
                    "Execution: exactly one of several competing workers claims a run",
                    f"{self._name(run)} runs in {child.name} and in {other.child.name}",
                )
        if run.id in self.ends:
            self.world.violate(
                "State of a job: ended states are final", f"{self._name(run)} had ended and runs again"
            )
        self.executions.append(
            Execution(run.id, flow, tenant, child, worker, self.world.loop.now, len(history))
        )
        self.world.cover("runs", flow, run.run_count > 0)
        self._check_limit(tenant)
        self._check_attempts(run, flow)
        self._check_deadline(run, flow)

    def _check_limit(self, tenant: str | None) -> None:
        limit = self.world.server.limits.get(tenant or "")
        running = [one for one in self.executions if one.tenant == tenant and one.is_live]
        if limit is not None and self.limits_are_strict and len(running) > limit.limit:
            self.world.violate(
                "Execution: limit of a tenant", f"{len(running)} jobs of {tenant} run, {limit.limit} may"
            )

    def _check_attempts(self, run: Any, flow: str) -> None:
        begun = sum(1 for one in self.executions if one.run_id == run.id)
        returned = sum(
            state.name in {"Rescheduled", "Waiting", "Resuming"}
            for state in self.world.server.history[run.id]
        )
        if begun > MAX_ATTEMPTS + returned:
            self.world.violate("Execution: 5 attempts", f"{self._name(run)} was started {begun} times")

    def _check_deadline(self, run: Any, flow: str) -> None:
        seconds = (run.parameters.get("control") or {}).get("complete_in")
        age_s = (self.world.wall() - run.created).total_seconds()
        is_first = sum(1 for one in self.executions if one.run_id == run.id) == 1
        # clocks differ by up to three seconds, and the worker decides before the child begins
        if seconds and is_first and age_s > seconds + 8 and not self.has_outages:
            self.world.violate(
                "Execution: an expired run is not started",
                f"{self._name(run)} began {age_s:.1f} s after its submission",
            )

    def finish(self, run: Any, child: Process) -> None:
        """Record that a body has returned."""
        for one in self.executions:
            if one.child is child and one.run_id == run.id:
                one.ended = self.world.loop.now

    def check_leases(self) -> None:
        """Check that no ended run still has a slot of its tenant."""
        if not self.releases_are_prompt:
            return
        server, now = self.world.server, self.world.wall()
        for lease in server.leases.values():
            run = server.runs[lease.metadata.holder.id]
            age_s = (now - run.state.timestamp).total_seconds()
            is_old = (now - lease.created_at).total_seconds() > RELEASED_AFTER_S
            if run.state_type in TERMINAL and age_s > RELEASED_AFTER_S and is_old:
                self.world.violate(
                    "Execution: slots of a tenant come back",
                    f"{self._name(run)} ended {age_s:.0f} s ago and has a slot of its tenant",
                )

    # reads

    def check_read(self, job: Any, asked_at: float) -> None:
        """Check that a status which an API has answered was true at most a second before it was asked."""
        known = self.statuses.get(job.id, [])
        oldest = asked_at - MAX_STATUS_AGE_S - 0.001
        valid = {
            status
            for (since, status), (until, _) in zip(known, [*known[1:], (float("inf"), "")], strict=True)
            if until >= oldest and since <= self.world.loop.now
        }
        if job.status == "scheduled" or "scheduled" in valid:
            return  # depends on the reader's clock
        if job.status not in valid:
            self.world.violate(
                "Submission: a status is at most one second old",
                f"job {str(job.id)[:8]} was answered as {job.status}; it was {sorted(valid)}",
            )

    def is_final(self, run: Any) -> bool:
        """Return whether a run has ended."""
        return status_of(run) in FINAL_STATUSES
