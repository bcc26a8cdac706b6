"""Runs that a stack, a worker or a server finds without their process, on a real server: one rule for all."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import AwaitingRetry, Cancelling, Pending, Running, Scheduled, Submitting

from deployments.manifest import load_deployments
from deployments.provisioning.apply import _apply_deployment, _apply_queues
from deployments.provisioning.lost_run_automation import LOST_RUN_AUTOMATION_NAME, apply_lost_run_automation
from deployments.stack.interrupted_runs import requeue_interrupted
from deployments.warm_worker.child.process_identity import process_token
from deployments.warm_worker.ownership import (
    LEASE_LABEL,
    PROCESS_LABEL,
    WORKER_NAME_LABEL,
    RunOwner,
    claim_message,
)
from deployments.warm_worker.queue.claim import this_worker
from deployments.warm_worker.run import server_watch
from deployments.warm_worker.run.reaper import Reaper
from deployments.warm_worker.run_states import RunStateWriter
from flows.maintenance.context import SweepContext
from flows.maintenance.expired_jobs import cancel_expired_jobs
from flows.prefect_state.attempts import RESCHEDULED_STATE, RUN_WAITS_EVENT
from flows.prefect_state.labels import WAITING_STATE, YIELD_COUNT
from tasks.settings.retention import RetentionSettings

CLAIM = (Pending(message="Taken."), Submitting())
LOST = (*CLAIM, AwaitingRetry())
YIELDED = (*CLAIM, Running(), Scheduled(name=WAITING_STATE))


@pytest.fixture
def client(home):
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def run(client):
    """A run of a pool of its own, taken through some states."""
    pool = "lost-runs"
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=pool, type="warm-process"))
    deployment = client.create_deployment(
        flow_id=client.create_flow_from_name("lost"), name=pool, work_pool_name=pool
    )
    made = []

    def run(*states, yields=0):
        found = client.create_flow_run_from_deployment(deployment).id
        for state in states:
            client.set_flow_run_state(found, state, force=True)
        if yields:
            client.update_flow_run_labels(found, {YIELD_COUNT: yields})
        made.append(found)
        return found

    run.pool = pool
    yield run
    for found in made:
        client.delete_flow_run(found)


def test_a_stack_that_starts_goes_on_with_what_only_yielded_and_ends_what_used_up_its_attempts(client, run):
    pipeline = run(*YIELDED * 4, *CLAIM, Running(), yields=4)
    assert client.read_flow_run(pipeline).run_count == 5
    hopeless, fresh, stopping = run(*LOST * 4, *CLAIM), run(*CLAIM), run(*CLAIM, Running(), Cancelling())
    assert client.read_flow_run(hopeless).run_count == 0

    lines = requeue_interrupted()

    ends = {key: client.read_flow_run(key).state for key in (pipeline, hopeless, fresh, stopping)}
    assert [state.name for state in ends.values()] == [
        "AwaitingRetry",
        "Crashed",
        "AwaitingRetry",
        "Cancelled",
    ]
    assert ends[hopeless].message.startswith("Started 5 times") and "went down" in ends[hopeless].message
    assert {f"job {key} was interrupted: {state.name}" for key, state in ends.items()} <= set(lines)
    assert requeue_interrupted() == []


def reaped(pool, max_starts=5):
    async def look():
        async with get_client() as client:
            return await Reaper(
                client, pool, "w", max_starts, is_own=lambda run: False, log=str
            ).requeue_lost_runs()

    return asyncio.run(look())


def test_a_reaper_counts_the_same(client, run):
    def of_w(*states):
        found = run(*states)
        client.update_flow_run_labels(found, {"prefect.worker.name": "w"})
        return found

    pipeline, hopeless = of_w(*YIELDED * 5, *CLAIM, Running()), of_w(*LOST * 4, *CLAIM)
    assert set(reaped(run.pool)) == {pipeline, hopeless}
    assert client.read_flow_run(pipeline).state_name == "AwaitingRetry"
    assert client.read_flow_run(hopeless).state.message == (
        "Started 5 times and ended early each time; the last time its worker ended."
    )


def test_a_run_that_somebody_else_has_by_now_is_left_alone(client, run):
    found = run(*CLAIM, Running())
    judged = client.read_flow_run(found)
    for state in (AwaitingRetry(), *CLAIM, Running()):  # another reaper, and another worker
        client.set_flow_run_state(found, state, force=True)

    async def late():
        async with get_client() as client:
            return await RunStateWriter(client).requeue_or_crash(judged, "its worker ended", 5)

    assert asyncio.run(late()) is None
    assert client.read_flow_run(found).state.is_running()


def ended_process():
    """The token of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    token = process_token(process.pid)
    process.kill()
    process.wait()
    process.stdin.close()
    return token


def claimed_by(worker, process, lease=None):
    return Pending(message=claim_message(RunOwner(worker, process), "a1", lease))


def test_a_claim_is_judged_by_its_own_process_before_it_is_labelled(client, run):
    gone, here = ended_process(), process_token(os.getpid())
    alive, dead = run(claimed_by("new", here)), run(claimed_by("new", gone))
    client.update_flow_run_labels(alive, {WORKER_NAME_LABEL: "old", PROCESS_LABEL: gone})

    assert reaped(run.pool) == [dead]
    assert client.read_flow_run(alive).state.is_pending()
    assert client.read_flow_run(dead).state_name == "AwaitingRetry"


def test_a_claim_that_its_worker_does_not_know_is_requeued(client, run):
    """The labels could not be written in an outage: the worker gave the run up, and its process lives."""
    known, forgotten = (run(claimed_by("w", process_token(os.getpid()))) for _ in range(2))

    async def look():
        async with get_client() as connection:
            return await Reaper(
                connection, run.pool, "w", 5, is_own=lambda run: run.id == known, log=str
            ).requeue_lost_runs()

    assert asyncio.run(look()) == [forgotten]
    assert client.read_flow_run(forgotten).state_name == "AwaitingRetry"
    assert client.read_flow_run(known).state.is_pending()


def test_a_worker_stops_a_run_that_another_has_claimed(client, run, monkeypatch):
    monkeypatch.setattr(server_watch, "POLL_INTERVAL_S", 0.05)
    monkeypatch.setattr(server_watch, "_REASSIGNED_AFTER_S", 0.3)
    here = this_worker("w")
    own, claimed, lost = (run(claimed_by("w", here.process), Running()) for _ in range(3))
    for found in (own, claimed, lost):
        client.update_flow_run_labels(found, {WORKER_NAME_LABEL: "w", PROCESS_LABEL: here.process})
    for state in (AwaitingRetry(), claimed_by("w", "elsewhere/1/1")):
        client.set_flow_run_state(claimed, state, force=True)
    client.set_flow_run_state(lost, AwaitingRetry(), force=True)
    stopped = {}

    async def watch():
        async with get_client() as connection:
            watching = server_watch.ServerWatch(
                connection,
                uuid4(),
                here,
                in_flight=lambda: [own, claimed, lost],
                on_queued=lambda _: None,
                on_stop=stopped.__setitem__,
            )
            task = asyncio.create_task(watching.poll_states())
            for _ in range(200):
                if len(stopped) >= 2:
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            task.cancel()

    asyncio.run(watch())
    assert stopped == {claimed: "taken_away", lost: "taken_away"}


@pytest.fixture
def leased(client, run):
    """Two runs of a dead worker with a lease each on a slot of their tenant: one claimed, one running."""
    name = "tenant:lost"
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=2))
    answers = [
        client.increment_concurrency_slots_with_lease([name], 1, "concurrency", lease_duration=60)
        for _ in range(2)
    ]
    leases = [UUID(answer.json()["lease_id"]) for answer in answers]
    claimed, running = (run(claimed_by("gone", ended_process(), lease)) for lease in leases)
    client.update_flow_run_labels(claimed, {LEASE_LABEL: str(UUID(int=1))})  # of an earlier attempt
    client.set_flow_run_state(running, Running(), force=True)
    labels = {WORKER_NAME_LABEL: "gone", PROCESS_LABEL: ended_process(), LEASE_LABEL: str(leases[1])}
    client.update_flow_run_labels(running, labels)
    assert client.read_global_concurrency_limit_by_name(name).active_slots == 2
    yield name
    client.delete_global_concurrency_limit_by_name(name)


@pytest.mark.parametrize("by", ["a reaper", "the start of a stack"])
def test_a_lost_run_releases_the_slot_of_its_tenant(client, run, leased, by):
    if by == "a reaper":
        assert len(reaped(run.pool)) == 2
    else:
        assert len(requeue_interrupted()) >= 2
    assert client.read_global_concurrency_limit_by_name(leased).active_slots == 0


@pytest.mark.parametrize("judged", [Running(), Cancelling()], ids=["running", "cancelling"])
def test_a_reaper_that_is_late_leaves_a_live_worker_s_run_alone(client, run, judged):
    lost = [run(claimed_by("old", ended_process()), judged) for _ in range(3)]
    for found in lost:
        client.update_flow_run_labels(found, {WORKER_NAME_LABEL: "old", PROCESS_LABEL: ended_process()})

    async def late():
        async with get_client() as connection:
            reaper = Reaper(connection, run.pool, "w", 5, is_own=lambda run: False, log=str)
            heartbeats = reaper._heartbeat_ages

            async def meanwhile():  # between this reaper's list and its verdicts
                owner = {WORKER_NAME_LABEL: "new", PROCESS_LABEL: process_token(os.getpid())}
                for found in lost:
                    for state in (AwaitingRetry(), claimed_by("new", owner[PROCESS_LABEL]), Running()):
                        await connection.set_flow_run_state(found, state, force=True)
                    await connection.update_flow_run_labels(found, owner)
                return await heartbeats()

            reaper._heartbeat_ages = meanwhile
            return await reaper.requeue_lost_runs()

    asyncio.run(late())
    assert [client.read_flow_run(found).state.name for found in lost] == ["Running"] * 3


def test_a_job_that_started_after_its_deadline_was_judged_is_not_canceled(client, run):
    found = run()
    client.update_flow_run(found, parameters={"control": {"complete_in": 1}})
    time.sleep(1.1)
    context = SweepContext(client, datetime.now(UTC), RetentionSettings())
    assert found in {judged.id for judged in context.unfinished}  # read once, for all maintenance tasks
    for state in (*CLAIM, Running()):
        client.set_flow_run_state(found, state, force=True)

    assert str(found) not in {action.item for action in cancel_expired_jobs(context)}
    assert client.read_flow_run(found).state.is_running()

    async def cancel():
        async with get_client() as connection:
            (judged,) = [one for one in context.unfinished if one.id == found]
            return await RunStateWriter(connection).set_cancelled(found, "Too late.", observed=judged)

    assert asyncio.run(cancel()) is None and client.read_flow_run(found).state.is_running()


def test_silence_is_no_sign_of_death_for_a_run_that_waits_in_the_queue(client):
    for known in client.read_automations_by_name(LOST_RUN_AUTOMATION_NAME):
        client.delete_automation(known.id)
    assert apply_lost_run_automation(client) == f"created automation {LOST_RUN_AUTOMATION_NAME!r}"
    (made,) = client.read_automations_by_name(LOST_RUN_AUTOMATION_NAME)
    waits = {
        f"prefect.flow-run.{name}"
        for name in (WAITING_STATE, RESCHEDULED_STATE, "AwaitingRetry", "Scheduled")
    } | {RUN_WAITS_EVENT}
    assert waits <= made.trigger.expect
    assert apply_lost_run_automation(client) == ""

    older = made.trigger.model_copy(update={"expect": made.trigger.expect - waits})
    theirs = made.model_copy(update={"trigger": older, "enabled": False, "description": "Ours."})
    changed = AutomationCore.model_validate(theirs.model_dump(exclude={"id", "owner_resource"}))
    client.update_automation(made.id, changed)
    assert apply_lost_run_automation(client) == f"updated automation {LOST_RUN_AUTOMATION_NAME!r}"
    (known,) = client.read_automations_by_name(LOST_RUN_AUTOMATION_NAME)
    assert known.id == made.id and waits <= known.trigger.expect
    assert not known.enabled and known.description == "Ours."


def test_a_deployment_that_is_there_gets_the_parameters_that_it_lacks(client):
    (janitor,) = [item for item in load_deployments() if item.job_type.name == "janitor"]
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=janitor.pool, type="warm-process"))
    _apply_queues(client, janitor.pool)
    flow = client.create_flow_from_name("janitor")
    made = client.create_deployment(flow_id=flow, name=janitor.name, work_pool_name=janitor.pool)

    assert _apply_deployment(client, janitor) == "updated deployment janitor/Housekeeping: maintenance"
    assert client.read_deployment(made).parameters == {"job": {}}
    assert _apply_deployment(client, janitor) == ""

    theirs = {"job": {"dry_run": True}, "control": {"priority": "low"}}
    client.create_deployment(flow_id=flow, name=janitor.name, work_pool_name=janitor.pool, parameters=theirs)
    _apply_deployment(client, janitor)
    assert client.read_deployment(made).parameters == theirs
    client.delete_deployment(made)
