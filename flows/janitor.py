"""The `janitor` flow: run all maintenance tasks on a schedule."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client

from flows.maintenance.assets import delete_assets
from flows.maintenance.avatar_notes import delete_stale_notes
from flows.maintenance.cache import evict_cache_entries
from flows.maintenance.context import SweepAction, SweepContext, SweepFunction
from flows.maintenance.expired_jobs import cancel_expired_jobs
from flows.maintenance.finished_runs import delete_old_runs
from flows.maintenance.log_files import delete_old_logs
from flows.maintenance.lost_runs import end_lost_runs
from flows.maintenance.missed_webhooks import MISSED_WEBHOOK, enqueue_missed_webhooks
from flows.maintenance.orphaned_jobs import cancel_orphans
from flows.maintenance.preview_frames import delete_abandoned_previews
from flows.maintenance.results import delete_expired_results
from flows.maintenance.resumable_uploads import delete_expired_uploads
from flows.maintenance.tenant_slots import free_unused_slots
from flows.maintenance.unfinished_uploads import abort_abandoned_uploads
from flows.maintenance.usage import tidy_usage
from flows.prefect_state.flow_options import FLOW_OPTIONS
from flows.schemas.control import DEFAULT_CONTROL, EXPIRED_MESSAGE, Control
from flows.schemas.maintenance import DEFAULT_JANITOR_JOB, JanitorJob, JanitorResult, SweepSummary
from tasks.errors import MaintenanceFailed
from tasks.run.cancellation import Cancelled
from tasks.settings import get_settings

SWEEPS: Final[Mapping[str, SweepFunction]] = {
    "deadlines": cancel_expired_jobs,
    "webhooks": enqueue_missed_webhooks,
    "orphans": cancel_orphans,
    "zombies": end_lost_runs,
    "slots": free_unused_slots,
    "cache": evict_cache_entries,
    "resumable": delete_expired_uploads,
    "uploads": abort_abandoned_uploads,
    "previews": delete_abandoned_previews,
    "assets": delete_assets,
    "results": delete_expired_results,
    "avatars": delete_stale_notes,
    "usage": tidy_usage,
    "logs": delete_old_logs,
    "runs": delete_old_runs,
}
"""Maintenance tasks in order of execution; those that affect waiting users come first."""

_MAX_EXAMPLES = 5


@flow(name="janitor", **FLOW_OPTIONS)
def janitor(job: JanitorJob = DEFAULT_JANITOR_JOB, control: Control = DEFAULT_CONTROL) -> JanitorResult:
    """
    Stop expired and orphaned jobs, enqueue missed webhooks, and delete what is past its retention.

    Raises:
        MaintenanceFailed: at least one maintenance task failed; all the others were run.
    """
    actions: list[SweepAction] = []
    failed: dict[str, str] = {}
    with get_client(sync_client=True) as client:
        context = SweepContext(client, datetime.now(UTC), get_settings().retention, job.dry_run)
        for name, sweep in SWEEPS.items():
            try:
                actions.extend(sweep(context))  # a generator: actions before an error are still reported
            except Cancelled:
                raise
            except Exception as error:
                get_run_logger().exception("The maintenance task %s failed.", name)
                failed[name] = f"{type(error).__name__}: {error}"
    sweeps = summarize(actions)
    _write_table_artifact(sweeps, failed, dry_run=job.dry_run)
    if failed:
        messages = "; ".join(f"{name}: {reason[:200]}" for name, reason in failed.items())
        raise MaintenanceFailed(f"At least one maintenance task failed. {messages}", sweeps=sorted(failed))
    return JanitorResult(
        expired=[deed.item for deed in actions if deed.kind == EXPIRED_MESSAGE],
        announced=[deed.item for deed in actions if deed.kind == MISSED_WEBHOOK],
        sweeps=sweeps,
    )


def summarize(actions: list[SweepAction]) -> list[SweepSummary]:
    """
    Summarize the actions by kind.

    Args:
        actions: actions in the order in which they were taken.
    """
    actions_by_kind: dict[str, list[SweepAction]] = {}
    for deed in actions:
        actions_by_kind.setdefault(deed.kind, []).append(deed)
    return [
        SweepSummary(
            what=what,
            count=len(done),
            bytes=sum(deed.freed_bytes for deed in done),
            examples=tuple(deed.item for deed in done[:_MAX_EXAMPLES]),
        )
        for what, done in actions_by_kind.items()
    ]


def _write_table_artifact(sweeps: list[SweepSummary], failed: Mapping[str, str], *, dry_run: bool) -> None:
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
