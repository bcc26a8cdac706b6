"""The last resort for runs whose worker vanished with nobody there to notice: an automation of Prefect's."""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

NAME: Final = "musetalk: runs without a heartbeat have crashed"
SILENCE_S: Final = 120
"""Eight heartbeats: a server that is away for a minute crashes nobody."""

_SIGNS: Final = (
    "heartbeat",
    "Completed",
    "Failed",
    "Crashed",
    "Cancelled",
    "AwaitingRetry",
    "Suspended",
)


def apply_automation(client: "SyncPrefectClient") -> str:
    """
    Create the automation if it is not there.

    Args:
        client: of the server to write to.

    Returns:
        What was done, empty for nothing.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    if client.read_automations_by_name(NAME):
        return ""
    trigger = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={f"prefect.flow-run.{name}" for name in _SIGNS},
        match={"prefect.resource.id": "prefect.flow-run.*"},  # pyright: ignore[reportArgumentType]
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=SILENCE_S),
    )
    action = ChangeFlowRunState(
        state=StateType.CRASHED,
        name="Crashed",
        message=f"Nothing was heard of its worker for {SILENCE_S} s.",
        force=False,
    )
    client.create_automation(AutomationCore(name=NAME, trigger=trigger, actions=[action]))
    return f"created automation {NAME!r}"
