"""What sets webhooks going: automations of Prefect's that run `announce` when a job starts or ends."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from flows.control import NOTIFY_START_TAG, NOTIFY_TAG
from flows.registry import INTERNAL

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
        tag:    of the runs that it is about.
        states: names of the states it waits for. The janitor finds those who end in another one.
    """

    name: str
    tag: str
    states: tuple[str, ...]


WATCHES: Final = (
    Watch(
        "musetalk: somebody is to be told of a job's end",
        NOTIFY_TAG,
        ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut"),
    ),
    Watch("musetalk: somebody is to be told of a job's start", NOTIFY_START_TAG, ("Running",)),
)


def apply_automations(client: "SyncPrefectClient") -> list[str]:
    """
    Create the automations, or point them to the deployment that is there now.

    Args:
        client: of the server to write to; `announce` is deployed there.

    Returns:
        What was done, empty for nothing.
    """
    deployment = client.read_deployment_by_name(INTERNAL["announce"].deployment)
    return [line for watch in WATCHES if (line := _apply(client, watch, deployment.id))]


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

    trigger = EventTrigger(
        expect={f"prefect.flow-run.{state}" for state in watch.states},
        match={"prefect.resource.id": "prefect.flow-run.*"},  # pyright: ignore[reportArgumentType]
        match_related={  # pyright: ignore[reportArgumentType]
            "prefect.resource.id": f"prefect.tag.{watch.tag}",
            "prefect.resource.role": "tag",
        },
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
    run = {"__prefect_kind": "jinja", "template": "{{ flow_run.id }}"}
    action = RunDeployment(
        source="selected", deployment_id=deployment, parameters={"job": {"run": run}}, job_variables=None
    )
    return AutomationCore(name=watch.name, trigger=trigger, actions=[action])
