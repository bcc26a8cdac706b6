"""
Maintenance task: end runs in a running state whose worker is gone.

It backs up the reapers and the server's automation. A reaper requires another worker of the work pool; the
automation requires a first heartbeat of the run, which a claimed run that never started has not sent. After
an outage of the server all heartbeats are old. Therefore a silent run is first marked, and ended only if it
is still silent in a later run of this task.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.filters import (
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventResourceFilter,
)
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from flows.maintenance.context import SweepAction, SweepContext, is_unchanged
from flows.prefect_state.attempts import count_attempts, end_before_claim
from flows.registry import FLOWS
from tasks.run.counters import LOST_RUNS, count

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import State

SUSPECT_AFTER: Final = timedelta(minutes=5)
"""Time without a heartbeat before a worker is suspected; far above the limits of reaper and automation."""
CONFIRM_AFTER: Final = timedelta(minutes=2)
"""Further silence required after the mark; a live worker sends a dozen heartbeats in that time."""
SILENT_SINCE_LABEL: Final = "musetalk.silent_since"
"""Label of a suspected run: time at which it was first found silent."""
WORKER_LABEL: Final = "prefect.worker.name"
"""Label of a run: name of the worker that executes it."""
NO_HEARTBEAT: Final = "No heartbeat from its worker"
"""Kind of action, and start of the state message."""

_HEARTBEAT = "prefect.flow-run.heartbeat"
_CLAIMED = {StateType.PENDING, StateType.RUNNING, StateType.CANCELLING}

Verdict = Literal["alive", "suspect", "watched", "lost"]


def judge_run(run: FlowRun, last_heartbeat: datetime | None, now: datetime) -> Verdict:
    """
    Decide whether the worker of a run is gone.

    Args:
        run:            a run that a worker has claimed.
        last_heartbeat: last heartbeat of its worker; None: there is no such worker.
        now:            current time.

    Returns:
        alive: nothing to do; suspect: mark the run; watched: it is marked, and it is too early to end it;
        lost: end it.
    """
    # a run that was just claimed may not have the label with its worker's name yet
    signs_of_life = [
        sign for sign in (last_heartbeat, run.state.timestamp if run.state else None) if sign is not None
    ]
    last_sign = max(signs_of_life, default=datetime.fromtimestamp(0, UTC))
    if now - last_sign < SUSPECT_AFTER:
        return "alive"
    silent_since = _read_silent_since(run)
    if silent_since is None or silent_since <= last_sign or silent_since > now:
        return "suspect"
    return "lost" if now - silent_since >= CONFIRM_AFTER else "watched"


def end_lost_runs(context: SweepContext) -> Iterator[SweepAction]:
    """Mark silent runs, end those that stayed silent, and yield one action per ended run."""
    pools = {job_type.pool for job_type in FLOWS.values()}  # ignore other projects' runs
    claimed = [
        run for run in context.unfinished if run.state_type in _CLAIMED and run.work_pool_name in pools
    ]
    heartbeats = {
        pool: _read_worker_heartbeats(context.client, pool)
        for pool in {str(run.work_pool_name) for run in claimed}
    }
    for run in claimed:
        worker = str(run.labels.get(WORKER_LABEL, ""))
        verdict = judge_run(run, heartbeats[str(run.work_pool_name)].get(worker), context.now)
        if verdict == "suspect" and not context.dry_run:
            context.client.update_flow_run_labels(run.id, {SILENT_SINCE_LABEL: context.now.isoformat()})
        if verdict == "lost" and not _sent_heartbeat(context, run):
            end_state = _end_state(context.client, run)
            if not is_unchanged(context.client, run):
                continue
            if not context.dry_run:
                context.client.set_flow_run_state(run.id, end_state, force=True)
                count(LOST_RUNS, "maintenance")
            yield SweepAction(NO_HEARTBEAT, str(run.id))


def _read_worker_heartbeats(client: "SyncPrefectClient", pool: str) -> dict[str, datetime]:
    """Return the last heartbeat of each worker of a work pool by worker name."""
    try:
        workers = client.read_workers_for_work_pool(pool)
    except ObjectNotFound:
        return {}
    return {worker.name: worker.last_heartbeat_time for worker in workers if worker.last_heartbeat_time}


def _sent_heartbeat(context: SweepContext, run: FlowRun) -> bool:
    """Return whether the run itself sent a heartbeat lately: its process may outlive its worker."""
    event_filter = EventFilter(
        occurred=EventOccurredFilter(since=context.now - SUSPECT_AFTER, until=context.now),  # pyright: ignore[reportArgumentType]
        event=EventNameFilter(name=[_HEARTBEAT]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
    )
    return bool(context.client.read_events(event_filter, limit=1).events)


def _end_state(client: "SyncPrefectClient", run: FlowRun) -> "State[Any]":
    if run.state_type == StateType.CANCELLING:
        return Cancelled(message="Canceled on request; its worker had already ended.")
    history = client.read_flow_run_states(run.id)
    if (end := end_before_claim(history)) is not None:
        return end
    attempts = count_attempts(history)
    silent = f"{NO_HEARTBEAT} for {SUSPECT_AFTER.total_seconds() / 60:.0f} minutes"
    return Crashed(message=f"{silent}; attempts so far: {attempts}.")


def _read_silent_since(run: FlowRun) -> datetime | None:
    try:
        return datetime.fromisoformat(str(run.labels.get(SILENT_SINCE_LABEL, "")))
    except ValueError:
        return None
