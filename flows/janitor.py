"""The `janitor` flow: run all maintenance tasks on a schedule."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client

from flows.control import EXPIRED, USUAL, Control
from flows.janitor_schemas import USUAL_WORK, JanitorJob, JanitorResult, Sweep
from flows.options import JOB
from flows.sweeps.avatars import remove_notes
from flows.sweeps.cache import tidy_cache
from flows.sweeps.logs import remove_logs
from flows.sweeps.look import Deed, Look, SweepOf
from flows.sweeps.missed import MISSED, announce_missed
from flows.sweeps.orphans import end_orphans
from flows.sweeps.results import remove_results
from flows.sweeps.runs import remove_runs
from flows.sweeps.unfinished import give_up_uploads
from flows.sweeps.uploads import remove_assets
from flows.sweeps.waiting import expire_waiting
from flows.sweeps.zombies import end_zombies
from tasks.errors import SweepFailed
from tasks.settings import get_settings
from tasks.stopping import Stopped

SWEEPS: Final[Mapping[str, SweepOf]] = {
    "deadlines": expire_waiting,
    "webhooks": announce_missed,
    "orphans": end_orphans,
    "zombies": end_zombies,
    "cache": tidy_cache,
    "uploads": give_up_uploads,
    "assets": remove_assets,
    "results": remove_results,
    "avatars": remove_notes,
    "logs": remove_logs,
    "runs": remove_runs,
}
"""Maintenance tasks in order of execution; those that affect waiting users come first."""

_EXAMPLES = 5


@flow(name="janitor", **JOB)
def janitor(job: JanitorJob = USUAL_WORK, control: Control = USUAL) -> JanitorResult:
    """
    Stop expired and orphaned jobs, enqueue missed webhooks, and delete what is past its retention.

    Raises:
        SweepFailed: at least one maintenance task failed; all the others were run.
    """
    deeds: list[Deed] = []
    failed: dict[str, str] = {}
    with get_client(sync_client=True) as client:
        look = Look(client, datetime.now(UTC), get_settings().retention, job.dry_run)
        for name, sweep in SWEEPS.items():
            try:
                deeds.extend(sweep(look))  # a generator: actions before an error are still reported
            except Stopped:
                raise
            except Exception as error:
                get_run_logger().exception("The maintenance task %s failed.", name)
                failed[name] = f"{type(error).__name__}: {error}"
    sweeps = summed(deeds)
    _report(sweeps, failed, dry_run=job.dry_run)
    if failed:
        told = "; ".join(f"{name}: {reason[:200]}" for name, reason in failed.items())
        raise SweepFailed(f"At least one maintenance task failed. {told}", sweeps=sorted(failed))
    return JanitorResult(
        expired=[deed.which for deed in deeds if deed.what == EXPIRED],
        announced=[deed.which for deed in deeds if deed.what == MISSED],
        sweeps=sweeps,
    )


def summed(deeds: list[Deed]) -> list[Sweep]:
    """
    Summarize the actions by kind.

    Args:
        actions: actions in the order in which they were taken.
    """
    kinds: dict[str, list[Deed]] = {}
    for deed in deeds:
        kinds.setdefault(deed.what, []).append(deed)
    return [
        Sweep(
            what=what,
            count=len(done),
            bytes=sum(deed.size for deed in done),
            examples=tuple(deed.which for deed in done[:_EXAMPLES]),
        )
        for what, done in kinds.items()
    ]


def _report(sweeps: list[Sweep], failed: Mapping[str, str], *, dry_run: bool) -> None:
    table = [sweep.model_dump() | {"examples": ", ".join(sweep.examples)} for sweep in sweeps]
    table += [
        {"what": f"Failed: {name}", "count": 0, "bytes": 0, "examples": reason[:500]}
        for name, reason in failed.items()
    ]
    if table:
        create_table_artifact(
            key="janitor",
            table=table,
            description="Dry run: actions that would be taken" if dry_run else "Actions taken",
        )
