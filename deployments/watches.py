"""What our own flows look out for: automations of Prefect's that run them on what jobs do."""

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
    One automation.

    Attributes:
        name:   in Prefect's list of automations.
        events: names of the events that it waits for, all of them about a job's run.
        tag:    of the runs that it is about; None where only such runs have these events.
        flow:   what it runs then.
        more:   parameters of that, beside the job's run.
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
    # the janitor finds those who end in another state
    Watch(
        "musetalk: somebody is to be told of a job's end",
        _states("Completed", "Failed", "Crashed", "Cancelled", "TimedOut"),
        NOTIFY_TAG,
    ),
    Watch("musetalk: somebody is to be told of a job's start", _states("Running"), NOTIFY_START_TAG),
    Watch(
        "musetalk: somebody is to be told how far a job is",
        frozenset({PROGRESSED}),
        flow="notify",  # said once, and not worth a look at who else saw it
        more={"event": "progress", "number": {"__prefect_kind": "json", "value": _NUMBER}},
    ),
    # one that sleeps, or whose worker is gone, cannot stop its parts itself
    Watch("musetalk: a batch or pipeline is cancelled", _states("Cancelled"), CHAIN_TAG, flow="end_parts"),
)


def apply_automations(client: "SyncPrefectClient") -> list[str]:
    """
    Create the automations, or point them to the deployments that are there now.

    Args:
        client: of the server to write to; the flows are deployed there.

    Returns:
        What was done, empty for nothing.
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
