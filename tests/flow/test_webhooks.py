"""Webhooks on a real Prefect server, into a real receiver on loopback; workers are played by the tests."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from prefect.artifacts import Artifact
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Running,
)
from standardwebhooks import Webhook
from webhook_jobs import SECRETS, attempts, note, told, work

from flows.announce import announce
from flows.janitor import janitor
from flows.notify import notify
from flows.schemas.maintenance import JanitorJob
from flows.schemas.webhook import DEAD_LETTER, AnnounceJob, NotifyJob, webhook_id
from flows.webhooks.delivery import AttemptRun, record, send
from tasks.catalog.download_links import verify_link
from tasks.errors import DeliveryFailed
from tasks.settings import get_settings


@pytest.fixture
def server(webhook_server):
    return webhook_server


def test_a_finished_job_is_told_once_signed_and_noted(server, job, receiver):
    run = job(Completed(), tenant="acme")

    attempt = told(server, run)

    (got,) = receiver.got
    for secret in SECRETS:
        assert Webhook(secret).verify(got.body.decode(), got.headers)["type"] == "job.completed"
    assert got.headers["webhook-attempt"] == "1"
    assert got.id == webhook_id(run, "completed")
    assert got.json["id"] == got.json["data"]["id"] == str(run)
    assert (got.json["status"], got.json["data"]["status"]) == ("success", "succeeded")
    assert got.json["data"]["links"]["self"] == f"https://render.example/v1/jobs/{run}"
    assert attempt.state.is_completed()
    made = note(server, attempt)
    assert (made["outcome"], made["status_code"], made["signatures"]) == ("delivered", 204, 2)
    assert made["sent"].encode() == got.body
    (attempt,) = attempts(server, run)
    assert {f"job:{run}", "event:completed", "tenant:acme", "delivered"} <= set(attempt.tags)


def test_however_many_see_the_end_there_is_one_delivery(server, job, receiver):
    run = job(Completed())
    for _ in range(3):
        announce(AnnounceJob(run=run))
        janitor(JanitorJob())

    (attempt,) = attempts(server, run)
    work(server, attempt)
    announce(AnnounceJob(run=run))

    assert janitor(JanitorJob()).announced == []
    assert len(attempts(server, run)) == len(receiver.got) == 1


@pytest.mark.parametrize("store", ["folder", "bucket", "bucket and secret"])
def test_a_signed_link_is_sent_on_request_if_the_api_can_verify_it(server, job, receiver, store, monkeypatch):
    if store != "folder":
        monkeypatch.setenv("MUSETALK_STORE__URL", "s3://a-bucket")
    if store == "bucket and secret":
        monkeypatch.setenv("MUSETALK_API__LINK_SECRETS", "a secret of thirty-two characters")
    get_settings.cache_clear()
    run = job(Running(), signed_links=True)

    end_with_video(server, run)
    told(server, run)

    (got,) = receiver.got
    link = urlsplit(got.json["result_url"])
    if store == "bucket":
        assert (link.path, link.query) == (f"/v1/jobs/{run}/files/anna%20hello.mp4", "")
    else:
        assert link.path == f"/v1/downloads/{run}/anna%20hello.mp4"
        query = dict(parse_qsl(link.query))
        verify_link(run, "anna hello.mp4", int(query["expires"]), query["signature"])


def end_with_video(server, run):
    data = {"video": {"uri": "s3://secret/x.mp4", "version": "v", "size": 3}, "name": "anna hello.mp4"}
    artifact = Artifact(type="json", key="result", data=data).format()
    server._client.post(
        "/artifacts/", json={"key": "result", "type": "json", "data": artifact, "flow_run_id": str(run)}
    ).raise_for_status()
    server.set_flow_run_state(run, Completed(), force=True)


def test_a_result_is_linked_and_never_presigned(server, job, receiver):
    run = job(Running())

    end_with_video(server, run)
    told(server, run)

    (got,) = receiver.got
    assert got.json["result_url"] == f"https://render.example/v1/jobs/{run}/files/anna%20hello.mp4"
    assert b"s3://" not in got.body


def test_the_end_of_the_schedule_is_a_dead_letter(server, job, receiver):
    run = job(Completed())
    announce(AnnounceJob(run=run))
    gaps = []
    for number in range(1, 11):
        receiver.will(500, body=b"no")
        waiting = attempts(server, run)[-1]
        assert waiting.parameters["job"]["attempt"] == number
        before = datetime.now(UTC)
        attempt = work(server, waiting)
        if number < 10:
            assert attempt.state.is_completed()
            gaps.append((attempts(server, run)[-1].next_scheduled_start_time - before).total_seconds())

    assert (
        attempt.state.is_failed()
        and "Dead letter" in attempt.state.message
        and "Attempt 10 of 10" in attempt.state.message
    )
    planned = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    assert all(0.89 * plan <= gap <= 1.11 * plan + 60 for gap, plan in zip(gaps, planned, strict=True))
    assert len(receiver.got) == len(attempts(server, run)) == 10
    assert {got.id for got in receiver.got} == {webhook_id(run, "completed")}
    assert [got.headers["webhook-attempt"] for got in receiver.got] == [str(n) for n in range(1, 11)]
    assert len({got.body for got in receiver.got}) == 1
    assert "dead" in attempts(server, run)[-1].tags
    assert note(server, attempt)["answer"] == "no"
    assert janitor(JanitorJob()).announced == []


def test_a_receiver_that_is_gone_is_left_alone(server, job, receiver):
    receiver.will(410)

    attempt = told(server, job(Completed()))

    assert attempt.state.is_failed() and "410" in attempt.state.message
    assert note(server, attempt)["outcome"] == "gone"


def test_a_receiver_that_asks_for_time_gets_it(server, job, receiver):
    receiver.will(503, {"Retry-After": "3000"})
    run = job(Completed())

    told(server, run)

    due = attempts(server, run)[-1].next_scheduled_start_time - datetime.now(UTC)
    assert timedelta(seconds=2900) < due <= timedelta(seconds=3000)


def test_a_redirect_is_a_failure_and_not_followed(server, job, receiver):
    receiver.will(302, {"Location": f"http://127.0.0.1:{receiver.port}/other"})
    run = job(Completed())

    attempt = told(server, run)

    assert note(server, attempt)["outcome"] == "refused"
    assert len(receiver.got) == 1 and len(attempts(server, run)) == 2


def test_an_address_that_is_not_allowed_gets_no_packet_and_no_second_attempt(
    server, job, receiver, monkeypatch
):
    monkeypatch.setenv("MUSETALK_EGRESS__ALLOWED_HOSTS", "")
    get_settings.cache_clear()
    run = job(Completed())

    attempt = told(server, run)

    assert receiver.got == [] and note(server, attempt)["outcome"] == "blocked"
    assert note(server, attempt)["dead"] and note(server, attempt)["next_attempt_at"] is None
    assert len(attempts(server, run)) == 1 and DEAD_LETTER in attempt.tags


def test_without_secrets_it_is_sent_unsigned_and_said_so(server, job, receiver, monkeypatch, caplog):
    monkeypatch.setenv("MUSETALK_WEBHOOK__SECRETS", "")
    get_settings.cache_clear()

    told(server, job(Completed()))

    (got,) = receiver.got
    assert "webhook-signature" not in got.headers and got.id
    assert caplog.text.count("MUSETALK_WEBHOOK__SECRETS") == 1


ENDS = {
    "failed": (Failed(message="secret /etc/passwd"), "failed", "failed", "failed"),
    "crashed": (Crashed(message="it was killed"), "failed", "failed", "failed"),
    "cancelled before it began": (Cancelled(), "canceled", "canceled", "cancelled"),
}


@pytest.mark.parametrize(("state", "event", "status", "word"), ENDS.values(), ids=ENDS)
def test_every_end_is_told(server, job, receiver, state, event, status, word):
    run = job(state)

    told(server, run)

    (got,) = receiver.got
    assert got.json["type"] == f"job.{event}"
    assert (got.json["data"]["status"], got.json["status"]) == (status, word)
    assert got.json["error"] and b"passwd" not in got.body


def test_a_job_that_waits_and_is_cancelled_is_told_of_that_alone(server, job, receiver):
    run = job(events=("started", "completed", "failed", "canceled"))
    server.set_flow_run_state(run, Cancelling())

    told(server, run)

    assert [got.json["type"] for got in receiver.got] == ["job.canceled"]


def test_only_what_was_asked_for_is_told(server, job, receiver):
    started = job(Completed(), events=("started", "failed"))
    nothing = job(Completed(), events=("canceled",))

    announce(AnnounceJob(run=nothing))
    told(server, started)

    assert attempts(server, nothing) == []
    assert [(got.json["type"], got.json["status"]) for got in receiver.got] == [("job.started", "running")]


def test_a_failure_that_is_undone_meanwhile_is_not_told(server, job, receiver):
    run = job(Crashed())
    announce(AnnounceJob(run=run))
    (attempt,) = attempts(server, run)
    assert attempt.next_scheduled_start_time > attempt.created + timedelta(seconds=1)
    server.set_flow_run_state(run, AwaitingRetry(), force=True)

    attempt = work(server, attempt)

    assert receiver.got == [] and note(server, attempt)["outcome"] == "dropped"


def test_a_job_that_is_gone_is_not_told_of(server, job, receiver):
    run = job(Completed())
    announce(AnnounceJob(run=run))
    (attempt,) = attempts(server, run)
    server.delete_flow_run(run)

    assert work(server, attempt).state.is_completed()
    assert receiver.got == []


def test_what_has_arrived_is_not_sent_by_a_later_attempt_but_by_a_replay(server, job, receiver):
    run = job(Completed())
    receiver.will(500)
    told(server, run)
    second = attempts(server, run)[-1]
    replay = NotifyJob(run=run, event="completed", attempt=2, replay=True)
    # as the API makes it
    made = server.create_flow_run_from_deployment(
        second.deployment_id, parameters={"job": replay.model_dump(mode="json")}, tags=replay.tags
    )
    work(server, made)

    attempt = work(server, second)

    assert note(server, attempt)["outcome"] == "dropped"
    assert len(receiver.got) == 2 and len({got.id for got in receiver.got}) == 1
    with pytest.raises(DeliveryFailed):
        receiver.will(500)
        notify(replay)
    assert len(attempts(server, run)) == 3


def test_the_janitor_finds_what_was_missed(server, job, receiver):
    run, silent = job(Completed()), job(Completed(), events=("failed",))
    waiting = job()

    assert janitor(JanitorJob(dry_run=True)).announced == [webhook_id(run, "completed")]
    assert attempts(server, run) == []
    assert janitor(JanitorJob()).announced == [webhook_id(run, "completed")]

    (attempt,) = attempts(server, run)
    work(server, attempt)
    assert len(receiver.got) == 1
    assert attempts(server, silent) == attempts(server, waiting) == []


def test_the_janitor_goes_on_where_a_chain_broke_unless_somebody_broke_it(server, job):
    broken, stopped = job(Completed()), job(Completed())
    for run, end in ((broken, Crashed()), (stopped, Cancelled())):
        announce(AnnounceJob(run=run))
        server.set_flow_run_state(attempts(server, run)[0].id, end, force=True)

    assert janitor(JanitorJob()).announced == [webhook_id(broken, "completed")]
    assert [run.parameters["job"]["attempt"] for run in attempts(server, broken)] == [1, 2]
    assert janitor(JanitorJob()).announced == []
    assert len(attempts(server, stopped)) == 1


def test_a_failed_attempt_has_no_successor_if_another_has_delivered_meanwhile(server, job, receiver):
    run = job(Completed())
    receiver.will(500)
    told(server, run)
    first, second = attempts(server, run)
    server.update_flow_run(first.id, tags={*first.tags, "delivered"})  # as its repetition would

    receiver.will(500)
    next_job = NotifyJob(run=run, event="completed", attempt=2)
    attempt = AttemptRun(second.id, tuple(second.tags), print)
    sent = send(server, next_job, attempt, server.read_flow_run(run))
    record(server, next_job, attempt, sent)

    assert sent.result.outcome == "refused" and not sent.result.dead
    assert len(attempts(server, run)) == 2 and len(receiver.got) == 2
