"""What a person can set on a work pool of warm workers, or on a deployment that uses one."""

from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorkerResult
from pydantic import Field


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


class WarmResult(BaseWorkerResult):
    """What the worker says of a run's process."""
