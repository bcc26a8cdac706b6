"""Prefect automations: internal flows on job events (webhooks, child jobs), and triggers of prefect.yaml."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from deployments.manifest import DeploymentSpec
from flows.prefect_state.labels import CHAIN_TAG
from flows.registry import INTERNAL_FLOWS
from flows.schemas.control import NOTIFY_START_TAG, NOTIFY_TAG
from tasks.run.event_names import PROGRESS_EVENT

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore


@dataclass(frozen=True, slots=True)
class AutomationSpec:
    """
    An automation that runs an internal flow when a job's run emits one of several events.

    Attributes:
        name:             name in Prefect's list of automations.
        events:           names of the triggering events.
        tag:              tag that a run must carry; None: any run with these events.
        flow:             internal flow to run.
        extra_parameters: parameters of that flow beside the id of the job's run.
    """

    name: str
    events: frozenset[str]
    tag: str | None = None
    flow: str = "announce"
    extra_parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])


def _state_events(*names: str) -> frozenset[str]:
    return frozenset(f"prefect.flow-run.{name}" for name in names)


_PROGRESS_NUMBER_TEMPLATE: Final = {"__prefect_kind": "jinja", "template": "{{ event.payload.number }}"}

AUTOMATIONS: Final = (
    # the janitor handles jobs that end in a custom state
    AutomationSpec(
        "musetalk: a job with a webhook has ended",
        _state_events("Completed", "Failed", "Crashed", "Cancelled", "TimedOut"),
        NOTIFY_TAG,
    ),
    AutomationSpec("musetalk: a job with a webhook has started", _state_events("Running"), NOTIFY_START_TAG),
    AutomationSpec(
        "musetalk: a job with a webhook has made progress",
        frozenset({PROGRESS_EVENT}),
        flow="notify",  # progress is delivered directly, without the lookup of earlier attempts in `announce`
        extra_parameters={
            "event": "progress",
            "number": {"__prefect_kind": "json", "value": _PROGRESS_NUMBER_TEMPLATE},
        },
    ),
    # a suspended parent, or one whose worker has died, cannot cancel its child jobs itself
    AutomationSpec(
        "musetalk: a batch or pipeline is cancelled", _state_events("Cancelled"), CHAIN_TAG, flow="end_parts"
    ),
)


_FORMER_NAMES: Final = (
    "musetalk: somebody is to be told of a job's end",
    "musetalk: somebody is to be told of a job's start",
    "musetalk: somebody is to be told how far a job is",
)


def apply_job_event_automations(client: "SyncPrefectClient") -> list[str]:
    """
    Create missing automations, and recreate those that run an outdated deployment.

    Args:
        client: client of the server; the internal flows must already be deployed there.

    Returns:
        One line per created automation.
    """
    deployments = {
        flow: client.read_deployment_by_name(INTERNAL_FLOWS[flow].deployment).id
        for flow in {spec.flow for spec in AUTOMATIONS}
    }
    _delete_former(client)
    return [
        line
        for spec in AUTOMATIONS
        if (line := _ensure(client, spec.name, deployments[spec.flow], partial(_build_automation, spec)))
    ]


def apply_triggers(client: "SyncPrefectClient", item: DeploymentSpec) -> list[str]:
    """
    Create the automations of a deployment's triggers, and recreate those that run an outdated deployment.

    Args:
        client: client of the server.
        item:   a deployment that already exists on the server.

    Returns:
        One line per created automation.
    """
    if not item.triggers:
        return []
    deployment = client.read_deployment_by_name(f"{item.job_type.name}/{item.name}").id
    changes: list[str] = []
    for trigger in map(dict[str, Any], item.triggers):
        name = str(trigger.get("name") or "")
        changes.append(_ensure(client, name, deployment, partial(_build_trigger, trigger)))
    return [line for line in changes if line]


def _ensure(
    client: "SyncPrefectClient", name: str, deployment: "UUID", build: Callable[["UUID"], "AutomationCore"]
) -> str:
    """
    Create an automation unless one of this name runs the current deployment.

    Such an automation is left as it is, since a person may have edited or disabled it.
    """
    existing = client.read_automations_by_name(name)
    if any(getattr(action, "deployment_id", None) == deployment for it in existing for action in it.actions):
        return ""
    for outdated in existing:
        client.delete_automation(outdated.id)
    client.create_automation(build(deployment))
    return f"created automation {name!r}"


def _delete_former(client: "SyncPrefectClient") -> None:
    """Delete automations of earlier versions, which would send each webhook a second time."""
    for name in _FORMER_NAMES:
        for outdated in client.read_automations_by_name(name):
            client.delete_automation(outdated.id)


def _build_trigger(trigger: Mapping[str, Any], deployment: "UUID") -> "AutomationCore":
    from prefect.events import DeploymentEventTrigger

    event_trigger = DeploymentEventTrigger.model_validate(trigger)
    event_trigger.set_deployment_id(deployment)
    return event_trigger.as_automation()


def _build_automation(spec: AutomationSpec, deployment: "UUID") -> "AutomationCore":
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    tag_resource = {"prefect.resource.id": f"prefect.tag.{spec.tag}", "prefect.resource.role": "tag"}
    trigger = EventTrigger(
        expect=set(spec.events),
        match={"prefect.resource.id": "prefect.flow-run.*"},  # pyright: ignore[reportArgumentType]
        match_related=tag_resource if spec.tag else {},  # pyright: ignore[reportArgumentType]
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
    run_id_template = {"__prefect_kind": "jinja", "template": "{{ flow_run.id }}"}
    action = RunDeployment(
        source="selected",
        deployment_id=deployment,
        parameters={"job": {"run": run_id_template, **spec.extra_parameters}},
        job_variables=None,
    )
    return AutomationCore(name=spec.name, trigger=trigger, actions=[action])
