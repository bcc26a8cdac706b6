"""Automations on a server that an earlier version has set up."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from uuid import uuid4

from deployments.provisioning.automations import AUTOMATIONS, apply_job_event_automations


@dataclass
class Server:
    """Automations by name, and one deployment per flow."""

    automations: dict[str, SimpleNamespace] = field(default_factory=dict)
    deployments: dict[str, object] = field(default_factory=dict)

    def read_deployment_by_name(self, name):
        return SimpleNamespace(id=self.deployments.setdefault(name, uuid4()))

    def read_automations_by_name(self, name):
        return [self.automations[name]] if name in self.automations else []

    def delete_automation(self, automation_id):
        self.automations = {name: one for name, one in self.automations.items() if one.id != automation_id}

    def create_automation(self, automation):
        self.automations[automation.name] = SimpleNamespace(id=uuid4(), actions=automation.actions)


def test_a_second_deploy_changes_nothing():
    server = Server()

    assert len(apply_job_event_automations(server)) == len(AUTOMATIONS)
    assert apply_job_event_automations(server) == []


def test_automations_of_earlier_versions_are_deleted_so_that_no_webhook_is_sent_twice():
    server = Server()
    for name in ("musetalk: somebody is to be told of a job's end", "musetalk: my own automation"):
        server.automations[name] = SimpleNamespace(id=uuid4(), actions=[])

    apply_job_event_automations(server)

    assert set(server.automations) == {"musetalk: my own automation", *(spec.name for spec in AUTOMATIONS)}


def test_an_automation_of_an_outdated_deployment_is_created_again():
    server = Server()
    apply_job_event_automations(server)
    server.deployments.clear()

    assert len(apply_job_event_automations(server)) == len(AUTOMATIONS)
