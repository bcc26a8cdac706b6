"""Slots of tenants' limits that a killed server left taken: freed by maintenance, and no others."""

import contextlib
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Pending
from prefect.variables import Variable

from flows.maintenance.context import SweepContext
from flows.maintenance.tenant_slots import UNUSED_SLOT, VARIABLE, _count_excess, free_unused_slots
from tasks.settings.retention import RetentionSettings

NOW = datetime.now(UTC)


@pytest.fixture
def client(home):
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def limit(client):
    """A limit of three, with two slots that are taken without a lease; gives its name."""
    name = f"tenant:{uuid4().hex[:8]}"
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=3))
    client.increment_concurrency_slots([name], 2, "concurrency")
    yield name
    client.delete_global_concurrency_limit_by_name(name)
    Variable.unset(VARIABLE)


@pytest.fixture
def claimed(client, limit):
    """A claimed run of the tenant, without a slot of its own: one of the two is its."""
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name="slots", type="warm-process"))
    flow = client.create_flow_from_name("slots")
    deployment = client.create_deployment(flow_id=flow, name="slots", work_pool_name="slots")
    run = client.create_flow_run_from_deployment(deployment, tags=[limit]).id
    client.set_flow_run_state(run, Pending(), force=True)
    yield run
    client.delete_flow_run(run)


def sweep(client, minutes, **more):
    context = SweepContext(client, NOW + timedelta(minutes=minutes), RetentionSettings(), **more)
    return [(action.kind, action.item) for action in free_unused_slots(context)]


def taken(client, name):
    return client.read_global_concurrency_limit_by_name(name).active_slots


def test_slots_without_a_run_are_freed_by_the_third_pass(client, limit):
    assert sweep(client, 0) == sweep(client, 5) == [] and taken(client, limit) == 2
    assert sweep(client, 10, dry_run=True) == [(UNUSED_SLOT, limit)] and taken(client, limit) == 2
    assert sweep(client, 10) == [(UNUSED_SLOT, limit)] and taken(client, limit) == 0
    assert sweep(client, 20) == sweep(client, 40) == []


def test_the_slot_of_a_run_stays(client, limit, claimed):
    assert [sweep(client, minutes) for minutes in (0, 5, 10, 15, 30)] == [
        [],
        [],
        [(UNUSED_SLOT, limit)],
        [],
        [],
    ]
    assert taken(client, limit) == 1


def test_slots_that_are_in_use_in_between_are_not_freed(client, limit):
    sweep(client, 0)
    client.release_concurrency_slots([limit], 2, 1.0)
    sweep(client, 5)  # nothing is in excess
    client.increment_concurrency_slots([limit], 2, "concurrency")
    assert sweep(client, 10) == sweep(client, 15) == [] and taken(client, limit) == 2
    client.release_concurrency_slots([limit], 1, 1.0)
    sweep(client, 17)
    client.increment_concurrency_slots([limit], 2, "concurrency")
    assert sweep(client, 20) == [(UNUSED_SLOT, limit)]
    assert taken(client, limit) == 2, "only one was in excess all the time"


@pytest.mark.parametrize("content", ["no JSON", "[1]", '{"tenant:a": 3}', '{"tenant:a": ["soon", 1]}'])
def test_an_edited_variable_starts_the_count_again(client, limit, content):
    Variable.set(VARIABLE, content, overwrite=True)
    assert sweep(client, 0) == sweep(client, 5) == [] and taken(client, limit) == 2
    assert sweep(client, 10) == [(UNUSED_SLOT, limit)]


@pytest.mark.parametrize("tag", ["chain", "housekeeping"])
def test_waiting_parents_and_deliveries_occupy_no_slot_of_their_tenant(client, limit, claimed, tag):
    assert _count_excess(client)[limit] == 1
    client.update_flow_run(claimed, tags=[limit, tag])
    assert _count_excess(client)[limit] == 2
