"""Prefect automations that run internal flows on job events: send webhooks, cancel child jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

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
        for flow in {watch.flow for watch in AUTOMATIONS}
    }
    return [
        line for watch in AUTOMATIONS if (line := _ensure_automation(client, watch, deployments[watch.flow]))
    ]


def _ensure_automation(client: "SyncPrefectClient", spec: AutomationSpec, deployment: "UUID") -> str:
    existing = client.read_automations_by_name(spec.name)
    if any(getattr(action, "deployment_id", None) == deployment for it in existing for action in it.actions):
        return ""
    for outdated in existing:
        client.delete_automation(outdated.id)
    client.create_automation(_build_automation(spec, deployment))
    return f"created automation {spec.name!r}"


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
