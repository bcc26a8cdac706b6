"""Prefect automations that run internal flows on job events: send webhooks, cancel child jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from flows.control import NOTIFY_START_TAG, NOTIFY_TAG
from flows.family import CHAIN_TAG
from flows.registry import INTERNAL
from tasks.event_names import PROGRESSED

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore


@dataclass(frozen=True, slots=True)
class Watch:
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
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])


def _states(*names: str) -> frozenset[str]:
    return frozenset(f"prefect.flow-run.{name}" for name in names)


_NUMBER: Final = {"__prefect_kind": "jinja", "template": "{{ event.payload.number }}"}

WATCHES: Final = (
    # the janitor handles jobs that end in a custom state
    Watch(
        "musetalk: a job with a webhook has ended",
        _states("Completed", "Failed", "Crashed", "Cancelled", "TimedOut"),
        NOTIFY_TAG,
    ),
    Watch("musetalk: a job with a webhook has started", _states("Running"), NOTIFY_START_TAG),
    Watch(
        "musetalk: a job with a webhook has made progress",
        frozenset({PROGRESSED}),
        flow="notify",  # progress is delivered directly, without the lookup of earlier attempts in `announce`
        more={"event": "progress", "number": {"__prefect_kind": "json", "value": _NUMBER}},
    ),
    # a suspended parent, or one whose worker has died, cannot cancel its child jobs itself
    Watch("musetalk: a batch or pipeline is cancelled", _states("Cancelled"), CHAIN_TAG, flow="end_parts"),
)


def apply_automations(client: "SyncPrefectClient") -> list[str]:
    """
    Create missing automations, and recreate those that run an outdated deployment.

    Args:
        client: client of the server; the internal flows must already be deployed there.

    Returns:
        One line per created automation.
    """
    deployments = {
        flow: client.read_deployment_by_name(INTERNAL[flow].deployment).id
        for flow in {watch.flow for watch in WATCHES}
    }
    return [line for watch in WATCHES if (line := _apply(client, watch, deployments[watch.flow]))]


def _apply(client: "SyncPrefectClient", watch: Watch, deployment: "UUID") -> str:
    known = client.read_automations_by_name(watch.name)
    if any(getattr(action, "deployment_id", None) == deployment for it in known for action in it.actions):
        return ""
    for outdated in known:
        client.delete_automation(outdated.id)
    client.create_automation(_automation(watch, deployment))
    return f"created automation {watch.name!r}"


def _automation(watch: Watch, deployment: "UUID") -> "AutomationCore":
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    tagged = {"prefect.resource.id": f"prefect.tag.{watch.tag}", "prefect.resource.role": "tag"}
    trigger = EventTrigger(
        expect=set(watch.events),
        match={"prefect.resource.id": "prefect.flow-run.*"},  # pyright: ignore[reportArgumentType]
        match_related=tagged if watch.tag else {},  # pyright: ignore[reportArgumentType]
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
    run = {"__prefect_kind": "jinja", "template": "{{ flow_run.id }}"}
    action = RunDeployment(
        source="selected",
        deployment_id=deployment,
        parameters={"job": {"run": run, **watch.more}},
        job_variables=None,
    )
    return AutomationCore(name=watch.name, trigger=trigger, actions=[action])
