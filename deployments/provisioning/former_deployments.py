"""Replacement of deployments that earlier versions named after their work pool, such as `lip_sync/gpu`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deployments.manifest import DeploymentSpec

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse


def find_former(client: "SyncPrefectClient", item: DeploymentSpec) -> "DeploymentResponse | None":
    """Return the deployment that an earlier version made for the same flow; None if there is none."""
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(f"{item.job_type.name}/{item.pool}")
    except ObjectNotFound:
        return None


def retire_former(client: "SyncPrefectClient", items: Sequence[DeploymentSpec]) -> list[str]:
    """
    Stop the schedules of former deployments, and delete those whose jobs have ended.

    Prefect deletes the queued runs of a deployment together with it. A deployment with unfinished jobs is
    therefore kept; a later call deletes it.

    Args:
        client: client of the server; the new deployments have taken over the schedules.
        items:  the deployments of this version.

    Returns:
        One line per deployment that was deleted, or whose schedules were stopped.
    """
    changes: list[str] = []
    for item in items:
        former = find_former(client, item)
        if former is None:
            continue
        for schedule in former.schedules:  # its scheduled runs are deleted with it
            client.delete_deployment_schedule(former.id, schedule.id)
        name = f"{item.job_type.name}/{former.name}"
        if not _has_unfinished_runs(client, former):
            client.delete_deployment(former.id)
            changes.append(f"deleted deployment {name}")
        elif former.schedules:
            changes.append(f"stopped the schedules of deployment {name}, which has unfinished jobs")
    return changes


def _has_unfinished_runs(client: "SyncPrefectClient", deployment: "DeploymentResponse") -> bool:
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterId,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import TERMINAL_STATES, StateType

    unfinished = [kind for kind in StateType if kind not in TERMINAL_STATES]
    return bool(
        client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=unfinished))
            ),
            limit=1,
        )
    )
