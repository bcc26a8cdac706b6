"""From a job's end to its webhook, with Prefect's automation, a real worker, and a server that is killed."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Scheduled
from stage import eventually
from standardwebhooks import Webhook
from webhook_stage import SECRET, attempts, janitor, runs_of, submit

from deployments.provisioning.automations import AUTOMATIONS
from flows.schemas.webhook import webhook_id

pytestmark = pytest.mark.stack


def test_the_end_of_a_job_is_told_once_by_the_automation(
    own_server, light_worker, workers, receiver, tmp_path
):
    jobs = own_server.pool("jobs")
    light_worker()
    workers(jobs, tmp_path)

    quick = submit(jobs, receiver.url, events=("started", "completed"))
    silent = jobs.submit("empty")
    jobs.wait(quick)
    jobs.wait(silent)
    eventually(lambda: len(receiver.got) == 2, 60)
    with own_server.client() as client:
        cancelled = client.create_flow_run_from_deployment(
            jobs.deployments["empty"],
            parameters={"control": {"notify": {"url": receiver.url}}},
            tags=["notify"],
            state=tomorrow(),
        ).id
    jobs.cancel(cancelled)
    eventually(lambda: len(receiver.got) == 3, 60)
    janitor(own_server)
    time.sleep(2)

    told = {got.id: got.json["type"] for got in receiver.got}
    assert told == {
        webhook_id(quick, "started"): "job.started",
        webhook_id(quick, "completed"): "job.completed",
        webhook_id(cancelled, "canceled"): "job.canceled",
    }
    assert len(receiver.got) == 3
    for got in receiver.got:
        Webhook(SECRET).verify(got.body.decode(), got.headers)
    assert attempts(own_server, silent) == []
    # one look a start, one an end, and only where they are asked for
    assert len(runs_of(own_server, "announce")) == 3


def tomorrow():
    return Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1))


@pytest.mark.slow
def test_a_server_killed_between_end_and_delivery_loses_nothing(own_server, light_worker, receiver):
    jobs = own_server.pool("jobs")
    seen, unseen = submit(jobs, receiver.url), submit(jobs, receiver.url)
    jobs.cancel(seen)

    # the automation has seen the end; there is no worker yet to act on it
    eventually(lambda: runs_of(own_server, "announce"), 30)
    with own_server.client() as client:  # of the other one the automation hears nothing
        (automation,) = client.read_automations_by_name(AUTOMATIONS[0].name)
        client.pause_automation(automation.id)
    time.sleep(1)
    jobs.cancel(unseen)
    assert jobs.run(unseen).state_type == StateType.CANCELLED
    own_server.kill()
    assert receiver.got == []

    own_server.start()
    light_worker()
    eventually(lambda: len(receiver.got) == 1, 60)
    assert receiver.got[0].id == webhook_id(seen, "canceled")
    janitor(own_server)
    eventually(lambda: len(receiver.got) == 2, 60)
    janitor(own_server)
    time.sleep(2)

    assert sorted(got.id for got in receiver.got) == sorted(
        webhook_id(job, "canceled") for job in (seen, unseen)
    )
    assert [len(attempts(own_server, job)) for job in (seen, unseen)] == [1, 1]


@pytest.mark.slow
def test_a_receiver_that_was_down_is_told_later_under_the_same_id(own_server, light_worker, receiver):
    jobs = own_server.pool("jobs")
    light_worker()
    receiver.will(500)
    job = submit(jobs, receiver.url)

    jobs.cancel(job)
    eventually(lambda: receiver.got, 60)
    own_server.kill()  # the second attempt is due in five seconds
    own_server.start()
    eventually(lambda: len(receiver.got) == 2, 90)

    assert {got.id for got in receiver.got} == {webhook_id(job, "canceled")}
    assert [got.headers["webhook-attempt"] for got in receiver.got] == ["1", "2"]
    assert receiver.got[0].body == receiver.got[1].body


def test_progress_is_told_now_and_then_and_only_where_it_is_asked_for(
    own_server, light_worker, workers, receiver, tmp_path
):
    jobs = own_server.pool("jobs")
    light_worker()
    workers(jobs, tmp_path, MUSETALK_WEBHOOK__PROGRESS_EVERY_S="5")

    loud = submit(jobs, receiver.url, "steady", events=("progress", "completed"), steps=26)
    quiet = submit(jobs, receiver.url, "steady", steps=4)
    jobs.wait(loud, 90)
    jobs.wait(quiet)
    eventually(lambda: sum(got.json["type"] == "job.completed" for got in receiver.got) == 2, 60)

    told = [got.json for got in receiver.got if got.json["type"] == "job.progress"]
    assert 1 <= len(told) <= 3 and {said["id"] for said in told} == {str(loud)}
    percents = [said["data"]["progress"]["percent"] for said in told]
    assert percents == sorted(percents) and 0 < percents[0] < 100
    assert {said["data"]["progress"]["phase"] for said in told} == {"render"}
    assert {said["status"] for said in told} == {"running"}
    ids = [got.id for got in receiver.got]
    assert len(ids) == len(set(ids))
    assert webhook_id(loud, "progress", 1) in ids
    Webhook(SECRET).verify(receiver.got[0].body.decode(), receiver.got[0].headers)
    tagged = [run.tags for run in attempts(own_server, loud)]
    listed = sum("event:progress" in tags for tags in tagged)
    assert len(told) <= listed <= len(told) + 1, (
        "the last attempt sends nothing if the job has ended meanwhile"
    )
