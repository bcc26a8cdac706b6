"""
Maintenance task: end runs in a running state whose worker is gone.

It backs up the reapers and the server's automation. A reaper requires another worker of the work pool; the
automation requires a first heartbeat of the run, which a claimed run that never started has not sent. After
an outage of the server all heartbeats are old. Therefore a silent run is first marked, and ended only if it
is still silent in a later run of this task.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.filters import (
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventResourceFilter,
)
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from flows.attempts import count_attempts
from flows.registry import FLOWS
from flows.sweeps.look import Deed, Look

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

SILENCE: Final = timedelta(minutes=5)
"""Time without a heartbeat before a worker is suspected; far above the limits of reaper and automation."""
PROOF: Final = timedelta(minutes=2)
"""Further silence required after the mark; a live worker sends a dozen heartbeats in that time."""
SILENT_SINCE: Final = "musetalk.silent_since"
"""Label of a suspected run: time at which it was first found silent."""
WORKER: Final = "prefect.worker.name"
"""Label of a run: name of the worker that executes it."""
LOST: Final = "No heartbeat from its worker"
"""Kind of action, and start of the state message."""

_HEARTBEAT = "prefect.flow-run.heartbeat"
_CLAIMED = {StateType.PENDING, StateType.RUNNING, StateType.CANCELLING}

Verdict = Literal["alive", "suspect", "watched", "lost"]


def judge(run: FlowRun, heard: datetime | None, now: datetime) -> Verdict:
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
    signs = [sign for sign in (heard, run.state.timestamp if run.state else None) if sign is not None]
    last = max(signs, default=datetime.fromtimestamp(0, UTC))
    if now - last < SILENCE:
        return "alive"
    marked = _read_mark(run)
    if marked is None or marked <= last or marked > now:
        return "suspect"
    return "lost" if now - marked >= PROOF else "watched"


def end_zombies(look: Look) -> Iterator[Deed]:
    """Mark silent runs, end those that stayed silent, and yield one action per ended run."""
    pools = {job_type.pool for job_type in FLOWS.values()}  # ignore other projects' runs
    claimed = [run for run in look.unfinished if run.state_type in _CLAIMED and run.work_pool_name in pools]
    heard = {pool: _heard(look.client, pool) for pool in {str(run.work_pool_name) for run in claimed}}
    for run in claimed:
        worker = str(run.labels.get(WORKER, ""))
        verdict = judge(run, heard[str(run.work_pool_name)].get(worker), look.now)
        if verdict == "suspect" and not look.dry_run:
            look.client.update_flow_run_labels(run.id, {SILENT_SINCE: look.now.isoformat()})
        if verdict == "lost" and _is_still(look.client, run) and not _beats(look, run):
            if not look.dry_run:
                _end(look.client, run)
            yield Deed(LOST, str(run.id))


def _heard(client: "SyncPrefectClient", pool: str) -> dict[str, datetime]:
    """Return the last heartbeat of each worker of a work pool by worker name."""
    try:
        workers = client.read_workers_for_work_pool(pool)
    except ObjectNotFound:
        return {}
    return {worker.name: worker.last_heartbeat_time for worker in workers if worker.last_heartbeat_time}


def _is_still(client: "SyncPrefectClient", run: FlowRun) -> bool:
    """Return whether a run is still in the state in which it was read."""
    try:
        return client.read_flow_run(run.id).state_id == run.state_id
    except ObjectNotFound:
        return False


def _beats(look: Look, run: FlowRun) -> bool:
    """Return whether the run itself sent a heartbeat lately: its process may outlive its worker."""
    wanted = EventFilter(
        occurred=EventOccurredFilter(since=look.now - SILENCE, until=look.now),  # pyright: ignore[reportArgumentType]
        event=EventNameFilter(name=[_HEARTBEAT]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
    )
    return bool(look.client.read_events(wanted, limit=1).events)


def _end(client: "SyncPrefectClient", run: FlowRun) -> None:
    if run.state_type == StateType.CANCELLING:
        state = Cancelled(message="Canceled on request; its worker had already ended.")
    else:
        starts = count_attempts(client.read_flow_run_states(run.id))
        silent = f"{LOST} for {SILENCE.total_seconds() / 60:.0f} minutes"
        state = Crashed(message=f"{silent}; attempts so far: {starts}.")
    client.set_flow_run_state(run.id, state, force=True)


def _read_mark(run: FlowRun) -> datetime | None:
    try:
        return datetime.fromisoformat(str(run.labels.get(SILENT_SINCE, "")))
    except ValueError:
        return None
