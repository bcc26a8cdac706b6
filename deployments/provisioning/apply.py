"""
Create and update the work pools, queues, deployments and automations of prefect.yaml on a Prefect server.

Objects that already match are not written; what a person has changed on Prefect's pages is kept.
"""

import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from deployments.console import WaitCallback
from deployments.manifest import DeploymentSpec, load_deployments
from deployments.provisioning import automations, lost_run_automation
from deployments.provisioning.former_deployments import find_former, retire_former
from deployments.provisioning.parameter_forms import ui_form
from deployments.provisioning.result_storage import save_results_block
from deployments.work_pools import DEFAULT_QUEUE, QUEUE_PRIORITIES, WORKER_TYPE
from flows.schemas.base import JobParameters
from flows.schemas.control import DEFAULT_CONTROL, Control
from tasks.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse


def apply(settings: Settings, wait_s: float | None = None, on_wait: WaitCallback | None = None) -> list[str]:
    """
    Create or update every work pool, deployment and automation on the server of PREFECT_API_URL.

    Args:
        settings: settings of the stack: home folder, result storage and start limits.
        wait_s:   how long to wait for the server to respond, in seconds; None: `start.stall_s`.
        on_wait:  called with the elapsed seconds and a message while waiting.

    Returns:
        One line per object that was written; empty if everything was up to date.

    Raises:
        TimeoutError: the server did not respond in time.
    """
    from prefect.client.orchestration import get_client

    (settings.home / "work").mkdir(parents=True, exist_ok=True)
    deployments = load_deployments()
    changes: list[str] = []
    with get_client(sync_client=True) as client:
        _wait_until_ready(client, settings.start.stall_s if wait_s is None else wait_s, on_wait)
        for pool in sorted({item.pool for item in deployments}):
            changes += [_apply_pool(client, pool), *_apply_queues(client, pool)]
        changes += [_apply_deployment(client, item) for item in deployments]
        for item in deployments:
            changes += automations.apply_triggers(client, item)
        changes += [
            lost_run_automation.apply_lost_run_automation(client),
            *automations.apply_job_event_automations(client),
        ]
        changes += retire_former(client, deployments)
    save_results_block(settings)
    return [line for line in changes if line]


def _wait_until_ready(client: "SyncPrefectClient", wait_s: float, on_wait: WaitCallback | None) -> None:
    started_at = time.monotonic()
    while (error := client.api_healthcheck()) is not None:
        waited_s = time.monotonic() - started_at
        if waited_s > wait_s:
            raise TimeoutError(
                f"the Prefect server at {client.api_url} did not respond for {waited_s:.0f} s: {error}"
            )
        if on_wait:
            on_wait(waited_s, f"waiting for the Prefect server at {client.api_url}")
        time.sleep(0.3)


def _apply_pool(client: "SyncPrefectClient", name: str) -> str:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    template = job_template()
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=name, type=WORKER_TYPE, base_job_template=template))
        return f"created work pool {name}"
    if pool.type != WORKER_TYPE:
        raise ValueError(
            f"work pool {name} is of type {pool.type}, not {WORKER_TYPE}: delete it with"
            f" `prefect work-pool delete {name}`, then run this command again"
        )
    if pool.base_job_template.get("variables", {}).get("properties"):
        return ""  # a person may have edited the template
    client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
    return f"updated work pool {name}"


def job_template() -> dict[str, Any]:
    """Return the base job template of a work pool, which can be edited on the pool's page in Prefect."""
    from deployments.warm_worker.worker import WarmWorker

    template: dict[str, Any] = WarmWorker.get_default_base_job_template()
    return template


def _apply_queues(client: "SyncPrefectClient", pool: str) -> list[str]:
    from prefect.exceptions import ObjectAlreadyExists

    existing_queues = {queue.name: queue for queue in client.read_work_queues(work_pool_name=pool, limit=200)}
    changes: list[str] = []
    for name, priority in QUEUE_PRIORITIES.items():
        if name not in existing_queues:
            with suppress(ObjectAlreadyExists):
                client.create_work_queue(name=name, priority=priority, work_pool_name=pool)
            changes.append(f"created work queue {pool}/{name}")
    return changes


def _apply_deployment(client: "SyncPrefectClient", item: DeploymentSpec) -> str:
    from prefect.exceptions import ObjectNotFound

    full_name = f"{item.job_type.name}/{item.name}"
    try:
        existing = client.read_deployment_by_name(full_name)
    except ObjectNotFound:
        existing = None
    previous = existing or find_former(client, item)
    # parameters that a person has set take precedence
    parameters = {**item.parameters, **(previous.parameters if previous else {})}
    desired_fields: dict[str, Any] = {**_deployment_fields(item), "parameters": parameters}
    if existing is not None and all(
        _none_to_empty_list(getattr(existing, name)) == value for name, value in desired_fields.items()
    ):
        return ""
    flow_id = client.create_flow_from_name(item.job_type.name)
    # schedules are created with the deployment only: a person may have changed or paused them since
    schedules = None if existing else _copied_schedules(previous) if previous else _schedule_requests(item)
    paused = previous.paused if previous and not existing else None
    client.create_deployment(
        flow_id=flow_id, name=item.name, schedules=schedules, paused=paused, **desired_fields
    )
    return f"{'updated' if existing else 'created'} deployment {full_name}"


def _deployment_fields(item: DeploymentSpec) -> dict[str, Any]:
    return {
        "entrypoint": item.entrypoint,
        "description": item.description,
        "tags": list(item.tags),
        "work_pool_name": item.pool,
        "work_queue_name": DEFAULT_QUEUE,
        "pull_steps": [],
        "parameter_openapi_schema": ui_form(parameters_schema(item.job_type.job, item.job_type.default)),
        "enforce_parameter_schema": True,
    }


def _schedule_requests(item: DeploymentSpec) -> list[Any]:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

    return [
        DeploymentScheduleCreate(
            schedule=CronSchedule(cron=timed.cron, timezone=timed.timezone)
            if timed.cron
            else IntervalSchedule(interval=timedelta(seconds=timed.interval_s or 3600)),
            active=timed.active,
            slug=timed.slug,
            parameters=dict(timed.parameters),
        )
        for timed in item.schedules
    ]


def _copied_schedules(deployment: "DeploymentResponse") -> list[Any]:
    from prefect.client.schemas.actions import DeploymentScheduleCreate

    return [
        DeploymentScheduleCreate(
            schedule=one.schedule,
            active=one.active,
            slug=one.slug,
            parameters=one.parameters,
            max_scheduled_runs=one.max_scheduled_runs,
        )
        for one in deployment.schedules
    ]


def _none_to_empty_list(value: Any) -> Any:
    return [] if value is None else value


def parameters_schema(job: type[JobParameters], default: JobParameters | None = None) -> dict[str, Any]:
    """
    Return the parameter schema, as Prefect generates it, of a flow with the parameters `job` and `control`.

    Args:
        job:     pydantic model of the job. It comes from the registry, so that no flow code is imported here.
        default: default value of `job`; None makes `job` required.
    """
    from prefect.utilities.callables import parameter_schema

    def run(job: Any, control: Any = DEFAULT_CONTROL) -> None: ...

    run.__annotations__ = {"job": job, "control": Control}
    if default is not None:
        run.__defaults__ = (default, DEFAULT_CONTROL)
    return parameter_schema(run).model_dump_for_openapi()
