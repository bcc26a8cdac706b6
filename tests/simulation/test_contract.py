"""The simulated Prefect server does what a real one does with the same requests."""

import contextlib
from random import Random
from types import SimpleNamespace

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Pending,
    Running,
    Scheduled,
    Submitting,
    Suspended,
)
from prefect.testing.utilities import prefect_test_harness

pytestmark = pytest.mark.slow
PROPOSALS = (
    Scheduled,
    AwaitingRetry,
    Pending,
    Pending,
    Submitting,
    Running,
    Running,
    Cancelling,
    Cancelled,
    Completed,
    Failed,
    Crashed,
    Suspended,
)
SEQUENCES, LENGTH = 40, 8


@pytest.fixture(scope="module")
def real():
    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="contract", type="warm-process"))
        flow = client.create_flow_from_name("contract")
        deployment = client.create_deployment(flow, "contract", work_pool_name="contract", tags=["job"])
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="tenant:contract", limit=2))
        yield SimpleNamespace(client=client, deployment=deployment)


@pytest.fixture
def simulated(monkeypatch):
    from pathlib import Path

    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from simulator.server import Server
    from simulator.world import World

    world = World(1)
    world.monitor = SimpleNamespace(on_state=lambda run, initial: None)
    server = Server(world)
    server.deploy("contract", "contract", "contract", ["job"])
    server.limit("tenant:contract", 2)
    deployment = server.read_deployment_by_name("contract/contract").id
    yield SimpleNamespace(client=server, deployment=deployment, world=world)
    world.close()


def outcome(side, run, proposed, *, force):
    """The answer to a proposal and the run after it, without ids and times."""
    result = side.client.set_flow_run_state(run, proposed, force=force)
    found = side.client.read_flow_run(run)
    return (
        result.status.value,
        found.state_type.value,
        found.state_name,
        found.run_count,
        found.start_time is not None,
        found.end_time is not None,
        found.next_scheduled_start_time is not None,
        len(side.client.read_flow_run_states(run)),
    )


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_states_and_their_rejections(real, simulated, seed):
    random = Random(seed)
    sides = (real, simulated)
    runs = [side.client.create_flow_run_from_deployment(side.deployment).id for side in sides]
    past = []
    for _ in range(LENGTH):
        make, force = random.choice(PROPOSALS), random.random() < 0.2
        past.append(f"{make.__name__}{' forced' if force else ''}")
        simulated.world.loop.now += 1.0
        seen = [outcome(side, run, make(), force=force) for side, run in zip(sides, runs, strict=True)]
        assert seen[0] == seen[1], past


def test_a_run_is_resumed_only_if_it_is_paused(real, simulated):
    def requests(side):
        run = side.client.create_flow_run_from_deployment(side.deployment).id
        seen = [side.client.resume_flow_run(run).status.value]
        for state in (Pending(), Running(), Suspended()):
            seen.append(side.client.set_flow_run_state(run, state).status.value)
        seen.append(side.client.resume_flow_run(run).status.value)
        return seen, side.client.read_flow_run(run).state_name

    assert requests(real) == requests(simulated)


def test_a_key_makes_one_run_and_labels_are_merged(real, simulated):
    def requests(side):
        make = side.client.create_flow_run_from_deployment
        first = make(
            side.deployment, idempotency_key="one", parameters={"a": 1}, tags=["x"], labels={"k": "1"}
        )
        again = make(side.deployment, idempotency_key="one", parameters={"a": 2})
        side.client.update_flow_run_labels(first.id, {"l": 2})
        found = side.client.read_flow_run(first.id)
        own = {name: value for name, value in found.labels.items() if not name.startswith("prefect.")}
        return first.id == again.id, found.parameters, sorted(found.tags), own, found.idempotency_key

    assert requests(real) == requests(simulated)


def test_a_run_may_be_created_as_claimed_and_end_without_having_run(real, simulated):
    def requests(side):
        make = side.client.create_flow_run_from_deployment
        claimed = make(side.deployment, idempotency_key="claimed", state=Pending(message="mine"))
        again = make(side.deployment, idempotency_key="claimed", state=Pending(message="another's"))
        side.client.set_flow_run_state(claimed.id, Completed())
        found = side.client.read_flow_run(claimed.id)
        return (
            [(one.state.name, one.state.message) for one in (claimed, again)],
            claimed.id == again.id,
            claimed.expected_start_time is not None,
            claimed.next_scheduled_start_time is not None,
            (found.state_name, found.run_count, found.start_time is not None, found.end_time is not None),
        )

    assert requests(real) == requests(simulated)


def test_slots_and_leases(real, simulated):
    def take(side):
        try:
            response = side.client.increment_concurrency_slots_with_lease(
                ["tenant:contract"], slots=1, mode="concurrency", lease_duration=60.0
            )
        except httpx.HTTPStatusError as error:
            return error.response.status_code
        return response.json()["lease_id"]

    def requests(side):
        leases = [take(side), take(side)]
        seen = [take(side)]
        side.client.release_concurrency_slots_with_lease(leases[0])
        side.client.release_concurrency_slots_with_lease(leases[0])  # without effect
        seen.append(side.client.read_global_concurrency_limit_by_name("tenant:contract").active_slots)
        side.client.renew_concurrency_lease(leases[1], 60.0)
        side.client.release_concurrency_slots_with_lease(leases[1])
        try:
            side.client.renew_concurrency_lease(leases[1], 60.0)
        except httpx.HTTPStatusError as error:
            seen.append(error.response.status_code)
        seen.append(side.client.read_global_concurrency_limit_by_name("tenant:contract").active_slots)
        with pytest.raises(ObjectNotFound):
            side.client.read_global_concurrency_limit_by_name("tenant:unknown")
        return seen

    assert requests(real) == requests(simulated)


def test_filters_orders_and_pages(real, simulated):
    def requests(side):
        make = side.client.create_flow_run_from_deployment
        runs = [make(side.deployment, tags=[f"t{n % 2}", "all", "pages"], name=f"run {n}") for n in range(5)]
        side.client.set_flow_run_state(runs[0].id, Pending())
        side.client.set_flow_run_state(runs[1].id, Cancelled(), force=True)
        tagged = FlowRunFilter(tags=FlowRunFilterTags(all_=["t0", "pages"]))
        queued = FlowRunFilter(
            tags=FlowRunFilterTags(any_=["pages"]),
            state=FlowRunFilterState(
                type=FlowRunFilterStateType(not_any_=[StateType.CANCELLED, StateType.PENDING])
            ),
        )
        some = FlowRunFilter(id=FlowRunFilterId(any_=[runs[2].id, runs[4].id]))
        asked = {"sort": FlowRunSort.EXPECTED_START_TIME_ASC}
        found = [
            [run.name for run in side.client.read_flow_runs(flow_run_filter=one, **asked)]
            for one in (tagged, queued, some)
        ]
        page = side.client.read_flow_runs(flow_run_filter=queued, **asked, limit=1, offset=1)
        with contextlib.suppress(AttributeError):
            simulated.world.loop.now += 1.0
        return found, [run.name for run in page]

    assert requests(real) == requests(simulated)
