"""What a person can set on a work pool of warm workers, or on a deployment that uses one."""

from typing import TYPE_CHECKING

from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorkerResult
from pydantic import Field

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
    from prefect.client.schemas.responses import DeploymentResponse


class WarmVariables(BaseVariables):
    """The form of the pool's page."""

    max_time: int | None = Field(
        default=None,
        ge=1,
        title="Longest running time",
        description="Seconds after which a run is stopped that names no max_time of its own.",
    )
    crash_retries: int = Field(
        default=1,
        ge=0,
        le=10,
        title="Retries after a crash",
        description="How often a run is tried again whose process crashed, hung or took too much memory.",
    )


class WarmJobConfiguration(BaseJobConfiguration):
    """The form, filled in for one run."""

    max_time: int | None = Field(default=None)
    crash_retries: int = Field(default=1)

    @classmethod
    def _base_environment(cls) -> dict[str, str]:
        """Children have the worker's own variables already, and not its impatience with the server."""
        return {}

    def prepare_for_flow_run(
        self,
        flow_run: "FlowRun",
        deployment: "DeploymentResponse | None" = None,
        flow: "Flow | None" = None,
        work_pool: "WorkPool | None" = None,
        worker_name: str | None = None,
        worker_id: "UUID | None" = None,
    ) -> None:
        """Fill in what belongs to the run; a flow in an installed module needs no look-up in the child."""
        super().prepare_for_flow_run(flow_run, deployment, flow, work_pool, worker_name, worker_id)
        entrypoint = deployment.entrypoint if deployment and not deployment.pull_steps else None
        if entrypoint and ":" not in entrypoint:
            self.env = {"PREFECT__FLOW_ENTRYPOINT": entrypoint, **self.env}


class WarmResult(BaseWorkerResult):
    """What the worker says of a run's process."""
