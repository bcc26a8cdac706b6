"""What sets webhooks going: an automation of Prefect's that runs `announce` when a job starts or ends."""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from flows.control import NOTIFY_TAG
from flows.registry import INTERNAL

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

NAME: Final = "musetalk: somebody is to be told of a job"

_SIGNS: Final = ("Running", "Completed", "Failed", "Crashed", "Cancelled", "TimedOut")
"""Names of states. Another name would be found by the janitor."""


def apply_automation(client: "SyncPrefectClient") -> str:
    """
    Create the automation, or point it to the deployment that is there now.

    Args:
        client: of the server to write to; `announce` is deployed there.

    Returns:
        What was done, empty for nothing.
    """
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    deployment = client.read_deployment_by_name(INTERNAL["announce"].deployment)
    known = client.read_automations_by_name(NAME)
    if any(getattr(action, "deployment_id", None) == deployment.id for it in known for action in it.actions):
        return ""
    for outdated in known:
        client.delete_automation(outdated.id)
    trigger = EventTrigger(
        expect={f"prefect.flow-run.{name}" for name in _SIGNS},
        match={"prefect.resource.id": "prefect.flow-run.*"},  # pyright: ignore[reportArgumentType]
        match_related={  # pyright: ignore[reportArgumentType]
            "prefect.resource.id": f"prefect.tag.{NOTIFY_TAG}",
            "prefect.resource.role": "tag",
        },
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
    run = {"__prefect_kind": "jinja", "template": "{{ flow_run.id }}"}
    action = RunDeployment(
        source="selected", deployment_id=deployment.id, parameters={"job": {"run": run}}, job_variables=None
    )
    client.create_automation(AutomationCore(name=NAME, trigger=trigger, actions=[action]))
    return f"created automation {NAME!r}"
