"""Prefect automation that sets runs without a heartbeat to Crashed, in case no worker is left to do so."""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from flows.prefect_state.attempts import RUN_WAITS_EVENT, WAITING_STATES

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import Automation

LOST_RUN_AUTOMATION_NAME: Final = "musetalk: runs without a heartbeat have crashed"
HEARTBEAT_TIMEOUT_S: Final = 120
"""Seconds, eight heartbeats: a server outage of one minute must not crash runs."""

_EXPECTED_EVENTS: Final = (
    "heartbeat",
    "Completed",
    "Failed",
    "TimedOut",
    "Crashed",
    "Cancelled",
    # the run is queued again: no heartbeat is expected until a worker claims it
    "Scheduled",
    *WAITING_STATES,
)


def apply_lost_run_automation(client: "SyncPrefectClient") -> str:
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

    expected_events = {f"prefect.flow-run.{name}" for name in _EXPECTED_EVENTS} | {RUN_WAITS_EVENT}
    if existing := client.read_automations_by_name(LOST_RUN_AUTOMATION_NAME):
        return _add_missing_events(client, existing[0], expected_events)
    trigger = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect=expected_events,
        match={"prefect.resource.id": "prefect.flow-run.*"},  # pyright: ignore[reportArgumentType]
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=HEARTBEAT_TIMEOUT_S),
    )
    action = ChangeFlowRunState(
        state=StateType.CRASHED,
        name="Crashed",
        message=f"Its worker sent no heartbeat for {HEARTBEAT_TIMEOUT_S} s.",
        force=False,
    )
    client.create_automation(AutomationCore(name=LOST_RUN_AUTOMATION_NAME, trigger=trigger, actions=[action]))
    return f"created automation {LOST_RUN_AUTOMATION_NAME!r}"


def _add_missing_events(
    client: "SyncPrefectClient", existing: "Automation", expected_events: set[str]
) -> str:
    from prefect.events.schemas.automations import AutomationCore, EventTrigger

    trigger = existing.trigger
    if not isinstance(trigger, EventTrigger) or expected_events <= trigger.expect:
        return ""
    updated = existing.model_copy(
        update={"trigger": trigger.model_copy(update={"expect": expected_events | trigger.expect})}
    )
    client.update_automation(
        existing.id, AutomationCore.model_validate(updated.model_dump(exclude={"id", "owner_resource"}))
    )
    return f"updated automation {LOST_RUN_AUTOMATION_NAME!r}"
