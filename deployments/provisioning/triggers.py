"""Automations that start deployments on events, from the `triggers` of prefect.yaml."""

from typing import TYPE_CHECKING, Any

from deployments.manifest import DeploymentSpec

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


def apply_triggers(client: "SyncPrefectClient", item: DeploymentSpec) -> list[str]:
    """
    Create the automations of a deployment's triggers, and recreate those that run an outdated deployment.

    An automation of the current deployment is left as it is, since a person may have edited or disabled it.

    Args:
        client: client of the server.
        item:   a deployment that already exists on the server.

    Returns:
        One line per created automation.
    """
    if not item.triggers:
        return []
    deployment = client.read_deployment_by_name(f"{item.job_type.name}/{item.name}").id
    return [line for trigger in item.triggers if (line := _ensure_trigger(client, dict(trigger), deployment))]


def _ensure_trigger(client: "SyncPrefectClient", trigger: dict[str, Any], deployment: Any) -> str:
    from prefect.events import DeploymentEventTrigger

    event_trigger = DeploymentEventTrigger.model_validate(trigger)
    existing = client.read_automations_by_name(event_trigger.name or "")
    if any(getattr(action, "deployment_id", None) == deployment for it in existing for action in it.actions):
        return ""
    for outdated in existing:
        client.delete_automation(outdated.id)
    event_trigger.set_deployment_id(deployment)
    client.create_automation(event_trigger.as_automation())
    return f"created automation {event_trigger.name!r}"
