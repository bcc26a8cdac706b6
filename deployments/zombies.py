"""Prefect automation that sets runs without a heartbeat to Crashed, in case no worker is left to do so."""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from flows.attempts import RESCHEDULED, RETRY
from flows.family import WAITING

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import Automation

NAME: Final = "musetalk: runs without a heartbeat have crashed"
SILENCE_S: Final = 120
"""Seconds, eight heartbeats: a server outage of one minute must not crash runs."""

_SIGNS: Final = (
    "heartbeat",
    "Completed",
    "Failed",
    "TimedOut",
    "Crashed",
    "Cancelled",
    # the run is queued again: no heartbeat is expected until a worker claims it
    "Scheduled",
    RETRY,
    RESCHEDULED,
    WAITING,
    "AwaitingConcurrencySlot",
    "Resuming",
    "Suspended",
    "Paused",
)


def apply_automation(client: "SyncPrefectClient") -> str:
    """
    Create the automation, or add missing expected events to an existing one; other edits are kept.

    Args:
        client: client of the server.

    Returns:
        A line about the change; empty if there was none.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    signs = {f"prefect.flow-run.{name}" for name in _SIGNS}
    if known := client.read_automations_by_name(NAME):
        return _extend(client, known[0], signs)
    trigger = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect=signs,
        match={"prefect.resource.id": "prefect.flow-run.*"},  # pyright: ignore[reportArgumentType]
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=SILENCE_S),
    )
    action = ChangeFlowRunState(
        state=StateType.CRASHED,
        name="Crashed",
        message=f"Its worker sent no heartbeat for {SILENCE_S} s.",
        force=False,
    )
    client.create_automation(AutomationCore(name=NAME, trigger=trigger, actions=[action]))
    return f"created automation {NAME!r}"


def _extend(client: "SyncPrefectClient", known: "Automation", signs: set[str]) -> str:
    from prefect.events.schemas.automations import AutomationCore, EventTrigger

    trigger = known.trigger
    if not isinstance(trigger, EventTrigger) or signs <= trigger.expect:
        return ""
    wanted = known.model_copy(
        update={"trigger": trigger.model_copy(update={"expect": signs | trigger.expect})}
    )
    client.update_automation(
        known.id, AutomationCore.model_validate(wanted.model_dump(exclude={"id", "owner_resource"}))
    )
    return f"updated automation {NAME!r}"
