"""Webhooks that a worker delivers itself: slow receivers, its death and end, other workers, all outcomes."""

import signal
import time

import pytest
from prefect.states import Cancelling
from receiver import receiving
from stage import HTTP, Shim, eventually
from standardwebhooks import Webhook
from webhook_stage import SECRET, Light, attempts, runs_of, submit

from flows.registry import JOB_TYPES
from flows.schemas.webhook import DEAD_LETTER, DELIVERED, RECEIVER_TAG_PREFIX, webhook_id

pytestmark = [pytest.mark.stack, pytest.mark.slow]

SLOW_S = 25


@pytest.fixture
def other():
    with receiving() as other:
        yield other


@pytest.fixture
def light(own_server):
    return Light(own_server)


@pytest.fixture
def jobs(own_server):
    return own_server.pool("jobs")


@pytest.fixture
def light_workers(light, receiver, other, tmp_path, workers):
    """Start workers of the light pool that may send to both receivers."""

    def start(**more):
        environment = {
            "MUSETALK_EGRESS__ALLOW_HTTP": "true",
            "MUSETALK_EGRESS__ALLOWED_HOSTS": f"{receiver.host},{other.host}",
            "MUSETALK_WEBHOOK__SECRETS": SECRET,
            "MUSETALK_WEBHOOK__TIMEOUT_S": "30",
            "MUSETALK_WORKER__PRELOAD": "",
        }
        return workers(light, tmp_path, **(environment | more))

    return start


def cancel_one(jobs, url, flow="empty"):
    """Submit a job with a webhook and cancel it; return it and the time of its end."""
    job = submit(jobs, url, flow)
    jobs.cancel(job)
    return job, jobs.run(job).end_time


def ended(server, job, number=1):
    """The attempts for a job once there are so many and all have ended."""

    def look():
        runs = attempts(server, job)
        return runs if len(runs) == number and all(run.state.is_final() for run in runs) else None

    return eventually(look, 60)


def test_a_slow_receiver_delays_neither_other_receivers_nor_children(
    own_server, light, jobs, receiver, other, light_workers
):
    with own_server.client() as client:
        nap = client.create_deployment(
            flow_id=client.create_flow_from_name("nap"),
            name="nap",
            entrypoint="warm_flows.nap",
            work_pool_name="light",
            work_queue_name="normal",
            pull_steps=[],
        )
        light_workers()
        busy = client.create_flow_run_from_deployment(nap, parameters={"seconds": 60.0}).id
        eventually(lambda: client.read_flow_run(busy).state.is_running(), 60)  # the only child is busy

        other.slow_s = SLOW_S
        slow = [cancel_one(jobs, other.url)[0] for _ in range(10)]
        eventually(lambda: len(other.got) >= 8, 30)
        delays = []
        for _ in range(5):
            job, end = cancel_one(jobs, receiver.url)
            eventually(lambda job=job: webhook_id(job, "canceled") in {got.id for got in receiver.got}, 30)
            [got] = [got for got in receiver.got if got.json["id"] == str(job)]
            delays.append(got.at - end.timestamp())
        assert max(delays) < 3, delays
        assert len(other.got) == 8, "the other two wait for a place"
        assert client.read_flow_run(busy).state.is_running()
    eventually(lambda: len(other.got) == 10, 2 * SLOW_S)
    for job in slow:
        [attempt] = ended(own_server, job)
        assert DELIVERED in attempt.tags and f"{RECEIVER_TAG_PREFIX}{other.host}" in attempt.tags
    assert {got.id for got in other.got} == {webhook_id(job, "canceled") for job in slow}


def test_a_worker_killed_while_it_sends_has_a_successor(own_server, jobs, receiver, light_workers):
    first = light_workers()
    receiver.slow_s = SLOW_S
    job, _ = cancel_one(jobs, receiver.url)
    eventually(lambda: receiver.got, 30)
    [attempt] = attempts(own_server, job)
    assert attempt.state.is_pending()

    first.signal(signal.SIGKILL)
    receiver.slow_s = 0.0
    light_workers()

    [attempt] = ended(own_server, job)
    assert attempt.state.is_completed() and DELIVERED in attempt.tags
    assert [got.headers["webhook-attempt"] for got in receiver.got] == ["1", "1"]
    assert {got.id for got in receiver.got} == {webhook_id(job, "canceled")}
    assert receiver.got[0].body == receiver.got[1].body


def test_a_worker_that_is_told_to_end_finishes_its_deliveries(own_server, jobs, receiver, light_workers):
    worker = light_workers()
    receiver.slow_s = 4
    job, _ = cancel_one(jobs, receiver.url)
    eventually(lambda: receiver.got, 30)

    worker.signal()
    worker.process.wait(30)

    [attempt] = attempts(own_server, job)
    assert attempt.state.is_completed() and DELIVERED in attempt.tags
    assert len(receiver.got) == 1


def test_a_second_signal_hands_a_delivery_back(own_server, jobs, receiver, light_workers):
    worker = light_workers()
    receiver.slow_s = SLOW_S
    job, _ = cancel_one(jobs, receiver.url)
    eventually(lambda: receiver.got, 30)

    started = time.monotonic()
    worker.signal()
    time.sleep(0.5)
    worker.signal()
    worker.process.wait(30)
    assert time.monotonic() - started < 15, "a request to a slow receiver keeps no worker"
    [attempt] = attempts(own_server, job)
    assert attempt.state.name == "Rescheduled"

    receiver.slow_s = 0.0
    light_workers()
    [attempt] = ended(own_server, job)
    assert DELIVERED in attempt.tags


def test_two_workers_deliver_each_webhook_once(own_server, jobs, receiver, light_workers):
    for _ in range(2):
        light_workers()

    told = [cancel_one(jobs, receiver.url)[0] for _ in range(20)]
    for job in told:
        [attempt] = ended(own_server, job)
        assert attempt.state.is_completed() and DELIVERED in attempt.tags

    assert sorted(got.id for got in receiver.got) == sorted(webhook_id(job, "canceled") for job in told)
    assert len(runs_of(own_server, "announce")) == len(runs_of(own_server, "notify")) == 20


def test_an_attempt_that_is_cancelled_ends_and_has_no_successor(own_server, jobs, receiver, light_workers):
    light_workers()
    receiver.slow_s = 8
    receiver.will(500)
    job, _ = cancel_one(jobs, receiver.url)
    eventually(lambda: receiver.got, 30)
    [attempt] = attempts(own_server, job)

    with own_server.client() as client:
        client.set_flow_run_state(attempt.id, Cancelling())
    eventually(lambda: attempts(own_server, job)[0].state.is_cancelled(), 5)
    time.sleep(8)  # the receiver responds
    [attempt] = attempts(own_server, job)
    assert attempt.state.is_cancelled()


def test_outcomes_are_recorded_as_the_flow_records_them(
    own_server, light, jobs, receiver, light_workers, tmp_path
):
    light_workers()
    jobs.deploy("speech", "warm_flows.empty", title=JOB_TYPES["speech"].title)
    shim = Shim(own_server, tmp_path).wait_ready()

    def deliveries(job):
        [delivery] = HTTP.get(f"{shim.url}/v1/jobs/{job}/deliveries").raise_for_status().json()["deliveries"]
        return delivery

    try:
        receiver.will(500)
        refused, _ = cancel_one(jobs, receiver.url, "speech")
        first, second = sorted(ended(own_server, refused, 2), key=lambda run: run.created)
        assert first.state.is_completed() and not {DELIVERED, DEAD_LETTER} & set(first.tags)
        assert second.state.is_completed() and DELIVERED in second.tags
        view = deliveries(refused)
        assert view["delivered"] and [one["outcome"] for one in view["attempts"]] == ["refused", "delivered"]
        assert [one["status_code"] for one in view["attempts"]] == [500, 204]

        receiver.will(410)
        gone, _ = cancel_one(jobs, receiver.url, "speech")
        [attempt] = ended(own_server, gone)
        assert attempt.state.is_failed() and "Dead letter" in attempt.state.message
        assert deliveries(gone)["dead"] and deliveries(gone)["attempts"][0]["outcome"] == "gone"

        blocked, _ = cancel_one(jobs, "http://127.0.0.1:1/hook", "speech")
        [attempt] = ended(own_server, blocked)
        assert attempt.state.is_failed() and deliveries(blocked)["attempts"][0]["outcome"] == "blocked"

        replayed = deliveries(refused)["webhook_id"]
        before = len(receiver.got)
        HTTP.post(f"{shim.url}/v1/jobs/{refused}/deliveries/{replayed}/replay").raise_for_status()
        eventually(lambda: len(receiver.got) == before + 1, 30)
        ended(own_server, refused, 3)
        assert receiver.got[-1].id == replayed and deliveries(refused)["attempts"][-1]["replay"]
    finally:
        shim.kill()
    for got in receiver.got:
        Webhook(SECRET).verify(got.body.decode(), got.headers)
