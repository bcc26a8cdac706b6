"""Bucket watches: schedules of the deployment `render_new`, and how a bucket event triggers one now."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

from pydantic import ValidationError

from api.prefect_door import patiently
from api.problems import Problem
from flows.batch_schemas import RenderNewJob
from flows.control import Control, read_control, tags
from flows.registry import JOB_TYPES

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

_TOGETHER_S: Final = 2.0
"""Bucket events within this time window share one run."""


@dataclass(frozen=True, slots=True)
class Task:
    """A bucket watch: a schedule of the deployment `render_new`, paused or not."""

    job: RenderNewJob
    control: Control

    def wants(self, bucket: str, key: str) -> bool:
        """Return whether an object is in one of the watch's input folders or is one of its inputs."""
        uri = f"s3://{bucket}/{key}"
        return any(
            uri.startswith(place) if place.endswith("/") else uri == place
            for place in self.job.places.values()
        )


class NewTasks(Protocol):
    """The interface through which the bucket event routes read and trigger watches; tests use a fake."""

    async def tasks(self) -> list[Task]:
        """Return all bucket watches."""
        ...

    async def start(self, task: Task) -> UUID:
        """Queue a run of a watch; calls within two seconds share one run."""
        ...


class PrefectNewTasks:
    """Bucket watches on a Prefect server."""

    def __init__(self, connect: "Callable[[], Awaitable[PrefectClient]]") -> None:
        """
        Use a shared connection.

        Args:
            connect: returns the Prefect client, opening it on first use.
        """
        self._connect = connect

    async def tasks(self) -> list[Task]:
        """Return the watches among the deployment's schedules."""
        deployment = await self._deployment()
        return list(_tasks([schedule.parameters or {} for schedule in deployment.schedules]))

    async def _deployment(self) -> "DeploymentResponse":
        from prefect.exceptions import ObjectNotFound

        client, name = await self._connect(), JOB_TYPES["render_new"].deployment
        try:
            return await patiently(partial(client.read_deployment_by_name, name))
        except ObjectNotFound:
            raise Problem(
                "orchestrator_unavailable",
                f"Deployment {name} is not on the Prefect server: run `musetalk deploy`.",
            ) from None

    async def start(self, task: Task) -> UUID:
        """Create the run that all calls within the time window share; it starts at the end of the window."""
        from prefect.states import Scheduled

        client, deployment = await self._connect(), await self._deployment()
        moment = int(time.time() // _TOGETHER_S)
        begin = datetime.fromtimestamp((moment + 1) * _TOGETHER_S, UTC)
        job = task.job.model_dump(mode="json", exclude_unset=True) | {"schedule": None}
        parameters: dict[str, Any] = {"job": job}
        if wishes := task.control.model_dump(mode="json", exclude_defaults=True):
            parameters["control"] = wishes
        run = await patiently(
            partial(
                client.create_flow_run_from_deployment,
                deployment.id,
                parameters=parameters,
                state=Scheduled(scheduled_time=begin),
                idempotency_key=f"objects came {task.control.tenant or ''} {task.job.name} {moment}",
                work_queue_name=task.control.priority,
                tags=tags(task.control),
            )
        )
        return run.id


def _tasks(found: list[dict[str, Any]]) -> Iterator[Task]:
    for parameters in found:
        job: Any = parameters.get("job")
        if not isinstance(job, Mapping):
            continue  # a schedule without parameters of its own watches no bucket
        try:
            yield Task(RenderNewJob.model_validate(job), read_control(parameters))
        except ValidationError:
            continue  # an invalid schedule created by hand: its scheduled runs report the error
