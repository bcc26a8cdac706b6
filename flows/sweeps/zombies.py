"""
Runs that say they run although no worker has them: the net below reapers and the server's automation.

Either needs what may be missing: the one another worker of the pool, the other a first heartbeat, which a
run that was taken and not begun never sent. After the server itself was away all signs of life are old, so
a silent run is first marked, and ended only if nothing was heard by the next look either.
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
"""Of a run's worker, before it is suspected: far above what the reaper and the automation wait."""
PROOF: Final = timedelta(minutes=2)
"""Of further silence: a worker that lives sends a dozen signs in it."""
SILENT_SINCE: Final = "musetalk.silent_since"
"""Label of a suspected run: when it was first found silent."""
WORKER: Final = "prefect.worker.name"
"""Label of a run: who executes it."""
LOST: Final = "Nothing was heard of its worker"

_HEARTBEAT = "prefect.flow-run.heartbeat"
_CLAIMED = {StateType.PENDING, StateType.RUNNING, StateType.CANCELLING}

Verdict = Literal["alive", "suspect", "watched", "lost"]


def judge(run: FlowRun, heard: datetime | None, now: datetime) -> Verdict:
    """
    Say whether a run's worker is to be taken for gone.

    Args:
        run:   one that a worker has taken.
        heard: when its worker was last heard of; None: there is no such worker.
        now:   the time.

    Returns:
        suspect: mark it; watched: it is marked, and it is too early to end it; lost: end it.
    """
    # one that has just been taken may not carry its worker's name yet
    signs = [sign for sign in (heard, run.state.timestamp if run.state else None) if sign is not None]
    last = max(signs, default=datetime.fromtimestamp(0, UTC))
    if now - last < SILENCE:
        return "alive"
    marked = _read_mark(run)
    if marked is None or marked <= last or marked > now:
        return "suspect"
    return "lost" if now - marked >= PROOF else "watched"


def end_zombies(look: Look) -> Iterator[Deed]:
    """Mark those that are silent, and end those that stayed so."""
    pools = {job_type.pool for job_type in FLOWS.values()}  # what others run on this server is theirs
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
    """When each worker of a pool was last heard of."""
    try:
        workers = client.read_workers_for_work_pool(pool)
    except ObjectNotFound:
        return {}
    return {worker.name: worker.last_heartbeat_time for worker in workers if worker.last_heartbeat_time}


def _is_still(client: "SyncPrefectClient", run: FlowRun) -> bool:
    """Tell whether a run is in the state it was seen in."""
    try:
        return client.read_flow_run(run.id).state_id == run.state_id
    except ObjectNotFound:
        return False


def _beats(look: Look, run: FlowRun) -> bool:
    """Tell whether the run itself was heard of lately: its process may outlive its worker."""
    wanted = EventFilter(
        occurred=EventOccurredFilter(since=look.now - SILENCE, until=look.now),  # pyright: ignore[reportArgumentType]
        event=EventNameFilter(name=[_HEARTBEAT]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
    )
    return bool(look.client.read_events(wanted, limit=1).events)


def _end(client: "SyncPrefectClient", run: FlowRun) -> None:
    if run.state_type == StateType.CANCELLING:
        state = Cancelled(message="Stopped on request; its worker had ended.")
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
