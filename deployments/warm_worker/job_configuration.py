"""Job configuration of the warm worker: the variables of its work pools and deployments."""

from typing import TYPE_CHECKING

from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorkerResult
from pydantic import Field

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
    from prefect.client.schemas.responses import DeploymentResponse


class WarmVariables(BaseVariables):
    """The job variables, as shown in the form of a work pool's page."""

    max_time: int | None = Field(
        default=None,
        ge=1,
        title="Maximum running time",
        description="Seconds after which a run is stopped, unless its job sets max_time.",
    )
    crash_retries: int = Field(
        default=1,
        ge=0,
        le=10,
        title="Retries after a crash",
        description="Number of retries of a run whose process crashed, hung or exceeded its memory limit.",
    )


class WarmJobConfiguration(BaseJobConfiguration):
    """The job variables resolved for one run."""

    max_time: int | None = Field(default=None)
    crash_retries: int = Field(default=1)

    @classmethod
    def _base_environment(cls) -> dict[str, str]:
        """Return no variables: children inherit the worker's, except for its own client settings."""
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
        """Add the run's variables; the entrypoint of an installed flow saves the child a server request."""
        super().prepare_for_flow_run(flow_run, deployment, flow, work_pool, worker_name, worker_id)
        entrypoint = deployment.entrypoint if deployment and not deployment.pull_steps else None
        if entrypoint and ":" not in entrypoint:
            self.env = {"PREFECT__FLOW_ENTRYPOINT": entrypoint, **self.env}


class WarmResult(BaseWorkerResult):
    """The result that the worker reports for a run's process."""
