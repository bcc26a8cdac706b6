"""One order of queued runs for workers and for the API's queue positions."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

from api.orchestrator.queue_estimates import QueueEstimator
from deployments.manifest import load_deployments
from deployments.warm_worker.queue.run_queue import RunQueue
from flows.prefect_state.labels import CHAIN_TAG, HOUSEKEEPING_TAG
from flows.prefect_state.queue_order import QueuedItem, in_start_order, limited_tenant_of, tenant_of
from flows.registry import INTERNAL_FLOWS, JOB_TYPES, ORCHESTRATION_JOB_TYPES
from flows.schemas.control import DEFAULT_CONTROL, Control

NOW = datetime.now(UTC) - timedelta(hours=1)


def run(number, tenant=None, queue="normal", state="SCHEDULED", kind="speech"):
    return SimpleNamespace(
        id=uuid4(),
        flow_id=kind,
        tags=[f"tenant:{tenant}"] if tenant else [],
        parameters={},
        work_queue_id=queue,
        work_queue_name=queue,
        state_type=state,
        start_time=NOW + timedelta(seconds=number) if state == "RUNNING" else None,
        next_scheduled_start_time=NOW + timedelta(seconds=number) if state == "SCHEDULED" else None,
        expected_start_time=NOW + timedelta(seconds=number),
    )


def positions(runs, control=DEFAULT_CONTROL):
    """The order that the API computes, and how many start before a job that is submitted now."""

    async def type_of(one):
        return one.flow_id if one.flow_id in JOB_TYPES else None

    async def read(_, state_names, page):
        return [one for one in runs if one.state_type in state_names] if page == 0 else []

    async def ask():
        estimator = QueueEstimator(None, type_of)
        estimator._read_runs = read
        for history in estimator._history.values():
            history._load = nothing
        snapshot = await estimator._queues["gpu"].get()
        return [job.id for job in snapshot.order], await estimator.estimate(JOB_TYPES["speech"], control)

    async def nothing():
        return None

    return asyncio.run(ask())


def claims(runs):
    """The order in which a worker claims the queued ones, one after another."""
    queue = RunQueue(client=None, pool="gpu")
    queue._queue_names = {name: name for name in ("high", "normal", "low")}
    running = [one for one in runs if one.state_type == "RUNNING"]
    for one in running:
        queue.rotate_tenant(tenant_of(one.tags))
    counts = {}
    for one in running:
        counts[tenant_of(one.tags)] = counts.get(tenant_of(one.tags), 0) + 1
    queued = [one for one in runs if one.state_type == "SCHEDULED"]
    return [one.id for one in queue.prioritize(queued, counts)]


def test_the_api_says_the_order_in_which_a_worker_starts():
    heavy = [run(number, "heavy") for number in range(100)]
    late = run(500, "light")
    runs = [*heavy, late, run(600), run(700, "heavy", queue="high"), run(50, "other", queue="low")]
    runs += [run(1, "heavy", state="RUNNING"), run(2, "other", state="RUNNING")]

    order, _ = positions(runs)
    assert order == claims(runs)
    assert order.index(late.id) + 1 <= 3, "not 101, although a hundred jobs of another tenant are older"


def test_a_job_that_is_submitted_now_has_the_place_that_it_would_get():
    runs = [run(number, "heavy") for number in range(100)]

    for tenant, ahead in (("light", 1), ("heavy", 100), (None, 1)):
        _, estimate = positions(runs, Control(tenant=tenant))
        assert estimate.jobs_ahead <= ahead if tenant != "heavy" else estimate.jobs_ahead == ahead
    assert positions(runs, Control(tenant="heavy", priority="high"))[1].jobs_ahead == 0
    assert positions(runs, Control(tenant="light", priority="low"))[1].jobs_ahead == 100


def test_claimed_runs_come_first_and_what_is_no_job_has_no_place():
    claimed, waiting, chore = run(9, "a", state="PENDING"), run(1, "b"), run(0, kind="janitor")

    assert positions([waiting, chore, claimed])[0] == [claimed.id, waiting.id]


def test_a_long_queue_is_sorted_quickly():
    items = [
        QueuedItem(number, number % 3, f"t{number % 50}", NOW + timedelta(seconds=number))
        for number in range(5000)
    ]
    began = time.process_time()
    assert sorted(in_start_order(items, {}, ())) == list(range(5000))
    assert time.process_time() - began < 1.0


def test_parents_and_deliveries_take_no_slot_of_their_tenant():
    """A parent would wait for child jobs that wait for its slot."""
    assert limited_tenant_of(["job", "tenant:anna"]) == "anna"
    assert limited_tenant_of(["job", "chain", "tenant:anna"]) is None
    assert limited_tenant_of(["housekeeping", "webhook", "tenant:anna"]) is None


def test_the_tags_that_take_no_slot_are_those_of_prefect_yaml():
    tags = {spec.job_type.name: set(spec.tags) for spec in load_deployments()}
    without = {name for name, found in tags.items() if {CHAIN_TAG, HOUSEKEEPING_TAG} & found}
    assert without == {*ORCHESTRATION_JOB_TYPES, *INTERNAL_FLOWS}
