"""Bucket watches: schedules of the deployment `render_new`, and how a bucket event triggers one now."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

from pydantic import ValidationError

from api.errors import Problem
from api.orchestrator.connection import PrefectConnection
from flows.prefect_state.run_names import job_run_name
from flows.registry import JOB_TYPES
from flows.schemas.batch import RenderNewJob
from flows.schemas.control import Control, read_control, tags_for
from musetalk_core.installation import command

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse

_COALESCE_WINDOW_S: Final = 2.0
"""Bucket events within this time window share one run."""


@dataclass(frozen=True, slots=True)
class BucketWatch:
    """A bucket watch: a schedule of the deployment `render_new`, paused or not."""

    job: RenderNewJob
    control: Control

    def matches(self, bucket: str, key: str) -> bool:
        """Return whether an object is in one of the watch's input folders or is one of its inputs."""
        uri = f"s3://{bucket}/{key}"
        return any(
            uri.startswith(place) if place.endswith("/") else uri == place
            for place in self.job.places.values()
        )


class BucketWatchStore(Protocol):
    """The interface through which the bucket event routes read and trigger watches; tests use a fake."""

    async def list_watches(self) -> list[BucketWatch]:
        """Return all bucket watches."""
        ...

    async def trigger(self, watch: BucketWatch) -> UUID:
        """Queue a run of a watch; calls within two seconds share one run."""
        ...


class PrefectBucketWatchStore:
    """Bucket watches on a Prefect server."""

    def __init__(self, connection: PrefectConnection) -> None:
        """Use a shared connection."""
        self._connection = connection

    async def list_watches(self) -> list[BucketWatch]:
        """Return the watches among the deployment's schedules."""
        deployment = await self._deployment()
        return list(_parse_watches([schedule.parameters or {} for schedule in deployment.schedules]))

    async def _deployment(self) -> "DeploymentResponse":
        from prefect.exceptions import ObjectNotFound

        name = JOB_TYPES["render_new"].deployment
        try:
            return await self._connection.read(lambda client: client.read_deployment_by_name(name))
        except ObjectNotFound:
            raise Problem(
                "orchestrator_unavailable",
                f"Deployment {name} is not on the Prefect server: run `{command('deploy')}`.",
            ) from None

    async def trigger(self, watch: BucketWatch) -> UUID:
        """Create the run that all calls within the time window share; it starts at the end of the window."""
        from prefect.states import Scheduled

        deployment = await self._deployment()
        window = int(time.time() // _COALESCE_WINDOW_S)
        start_time = datetime.fromtimestamp((window + 1) * _COALESCE_WINDOW_S, UTC)
        job = watch.job.model_dump(mode="json", exclude_unset=True) | {"schedule": None}
        parameters: dict[str, Any] = {"job": job}
        if control := watch.control.model_dump(mode="json", exclude_defaults=True):
            parameters["control"] = control
        run = await self._connection.write(
            lambda client: client.create_flow_run_from_deployment(
                deployment.id,
                name=job_run_name("render_new", RenderNewJob, job, f"{window:x}"),
                parameters=parameters,
                state=Scheduled(scheduled_time=start_time),
                idempotency_key=f"objects came {watch.control.tenant or ''} {watch.job.name} {window}",
                work_queue_name=watch.control.priority,
                tags=tags_for(watch.control),
            )
        )
        return run.id


def _parse_watches(schedule_parameters: list[dict[str, Any]]) -> Iterator[BucketWatch]:
    for parameters in schedule_parameters:
        job: Any = parameters.get("job")
        if not isinstance(job, Mapping):
            continue  # a schedule without parameters of its own watches no bucket
        try:
            yield BucketWatch(RenderNewJob.model_validate(job), read_control(parameters))
        except ValidationError:
            continue  # an invalid schedule created by hand: its scheduled runs report the error
