"""The webhook payload: the envelope, and beside it the fields for receivers of the original API."""

import json
from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest
from pydantic import ValidationError

from flows.prefect_state.status import JobError
from flows.schemas.control import END_EVENTS, Control, Notify, read_control, tags_for
from flows.schemas.webhook import NotifyJob, webhook_id
from flows.webhooks.payload import MAX_BODY_BYTES, JobSnapshot, build_payload
from tasks.settings import get_settings

JOB = UUID("6f1c2f9e-3f0e-4c07-8a6f-4a4c5f3f8f55")
OWN = f"/v1/jobs/{JOB}"
AT = datetime(2026, 3, 1, 13, 0, 0, 500_000, tzinfo=timezone(timedelta(hours=1)))
VIDEO = {"video": {"uri": "s3://secret-bucket/x.mp4", "version": "v", "size": 3}, "name": "anna hello.mp4"}


def told(event="completed", base=None, **fields):
    usual = {"id": JOB, "type": "lip_sync", "status": "succeeded", "created": AT, "started": AT, "ended": AT}
    return json.loads(build_payload(event, JobSnapshot(**usual | fields), base))


def legacy(body):
    return {name: value for name, value in body.items() if name not in {"type", "timestamp", "data"}}


def test_the_envelope_is_whole():
    assert told(result=VIDEO) == {
        "type": "job.completed",
        "timestamp": "2026-03-01T12:00:00.500Z",
        "data": {
            "id": str(JOB),
            "type": "lip_sync",
            "status": "succeeded",
            "created_at": "2026-03-01T12:00:00.500Z",
            "started_at": "2026-03-01T12:00:00.500Z",
            "ended_at": "2026-03-01T12:00:00.500Z",
            "error": None,
            "links": {"self": OWN, "result": f"{OWN}/result"},
        },
        "id": str(JOB),
        "status": "success",
        "result_url": f"{OWN}/files/anna%20hello.mp4",
    }


def test_old_receivers_find_a_link_to_a_medium():
    assert legacy(told(result=VIDEO, base="https://render.example")) == {
        "id": str(JOB),
        "status": "success",
        "result_url": f"https://render.example{OWN}/files/anna%20hello.mp4",
    }


@pytest.mark.parametrize("kind", ["transcribe", "analyze"])
def test_old_receivers_find_a_text(kind):
    body = told(type=kind, result={"text": "Käse", "picture": VIDEO["video"], "name": "a.jpg"})

    assert legacy(body) == {"id": str(JOB), "status": "success", "text": "Käse"}


def test_old_receivers_find_an_error():
    error = JobError("no_face", "No frame shows a face.", retryable=False)
    body = told("failed", status="failed", error=error)

    assert legacy(body) == {"id": str(JOB), "status": "failed", "error": "No frame shows a face."}
    assert body["data"]["error"] == {
        "code": "no_face",
        "message": "No frame shows a face.",
        "retryable": False,
    }
    assert "result" not in body["data"]["links"]


@pytest.mark.parametrize(
    ("word", "seen"), [(None, "cancelled"), ("cancelled", "cancelled"), ("timed_out", "timed_out")]
)
def test_old_receivers_hear_of_a_stop_in_its_owner_s_word(word, seen):
    body = told("canceled", status="canceled", ended_as=word)

    assert legacy(body) == {"id": str(JOB), "status": seen, "error": f"Job marked as {seen} by client"}


def test_a_job_out_of_time_is_failed_to_old_receivers_and_canceled_to_new_ones(monkeypatch):
    error = JobError("deadline_exceeded", "Job exceeded maximum runtime of 60 seconds", retryable=False)
    body = told("canceled", status="aborted", ended_as="aborted", error=error)

    assert legacy(body) == {"id": str(JOB), "status": "failed", "error": error.message}
    assert (body["type"], body["data"]["status"]) == ("job.canceled", "aborted")
    monkeypatch.setenv("MUSETALK_COMPAT__DEADLINE_WORD", "timed_out")
    get_settings.cache_clear()
    assert told("canceled", status="aborted", error=error)["status"] == "timed_out"
    monkeypatch.undo()
    get_settings.cache_clear()


def test_a_start_says_nothing_of_what_came_after():
    body = told("started", result=VIDEO, started=AT - timedelta(seconds=60))

    assert legacy(body) == {"id": str(JOB), "status": "running"}
    assert body["timestamp"] == "2026-03-01T11:59:00.500Z"
    assert (body["data"]["status"], body["data"]["ended_at"]) == ("running", None)
    assert body["data"]["links"] == {"self": OWN}


def test_the_first_warnings_of_a_result_are_in_the_data_without_addresses():
    warnings = [f"no_speech: number {number} of s3://secret-bucket/a.wav?token=x" for number in range(200)]
    body = told(result=VIDEO | {"warnings": warnings})

    seen = body["data"]["warnings"]
    assert 5 <= len(seen) < 200 and all(text.startswith("no_speech: number") for text in seen)
    assert "secret-bucket" not in str(body["data"]["warnings"]) and "token" not in str(seen)


@pytest.mark.parametrize("event", ["started", "failed", "canceled"])
def test_only_a_completed_job_tells_warnings(event):
    error = JobError("no_face", "No frame shows a face.", retryable=False)
    body = told(event, status=event, result=VIDEO | {"warnings": ["no_speech: none"]}, error=error)
    assert "warnings" not in body["data"]
    assert "warnings" not in told(result=VIDEO | {"warnings": []})["data"]


def test_nothing_leaks():
    error = JobError("input_unreachable", "https://host/a.mp4?token=x could not be fetched.", retryable=False)
    body = build_payload("failed", JobSnapshot(JOB, "lip_sync", "failed", error=error), None)
    done = build_payload("completed", JobSnapshot(JOB, "lip_sync", "succeeded", result=VIDEO), None)

    assert b"host" not in body and b"token" not in body and b"could not be fetched" in body
    assert b"s3://" not in done and b"secret-bucket" not in done


@pytest.mark.parametrize("letter", ["a", "ä", "\n", '"', "\U0001f600", "\ud800"])
def test_a_long_text_is_cut_and_says_so(letter):
    body = build_payload(
        "completed", JobSnapshot(JOB, "transcribe", "succeeded", result={"text": letter * 50_000}), None
    )
    read = json.loads(body)

    assert MAX_BODY_BYTES - 20 < len(body) < MAX_BODY_BYTES
    assert read["text_cut"] is True and len(read["text"]) > 2000


def test_a_text_that_fits_is_whole():
    body = told(type="transcribe", result={"text": "a" * 15_000})

    assert body["text"] == "a" * 15_000 and "text_cut" not in body


def test_an_id_is_of_the_job_and_the_event_alone():
    one = NotifyJob(run=JOB, event="completed")

    assert one.webhook_id == webhook_id(JOB, "completed") == one.model_copy(update={"attempt": 4}).webhook_id
    assert one.webhook_id != webhook_id(JOB, "failed")
    assert "." not in one.webhook_id
    keys = {
        one.idempotency_key,
        one.model_copy(update={"attempt": 2}).idempotency_key,
        one.model_copy(update={"replay": True}).idempotency_key,
    }
    assert len(keys) == 3


def test_who_is_told_is_part_of_the_control():
    control = read_control({"control": {"tenant": "acme", "notify": {"url": "http://hooks.example/a?b=c"}}})

    assert control.notify == Notify(url="http://hooks.example/a?b=c", events=END_EVENTS)
    assert tags_for(control) == ["tenant:acme", "notify"]
    assert tags_for(Control()) == []
    started = Control(notify=Notify(url="https://hooks.example/", events=("started", "failed")))
    assert tags_for(started) == ["notify", "notify-start"]


@pytest.mark.parametrize(
    "notify",
    [
        {"url": "ftp://a.example/"},
        {"url": "https://"},
        {"url": "https://u:p@a.example/"},
        {"url": "https://a.example:99999/"},
        {"url": "https://a.example/\n"},
        {"url": "https://a.example/", "events": []},
        {"url": "https://a.example/", "events": ["soon"]},
        {"url": "https://a.example/", "secret": "whsec_"},
        {},
    ],
)
def test_what_makes_no_sense_is_refused(notify):
    with pytest.raises(ValidationError):
        Control(notify=notify)


@pytest.mark.parametrize("kind", ["batch", "render_new"])
def test_a_batch_tells_its_rows_by_what_became_of_them_and_not_which(kind):
    counts = {"total": 6, "succeeded": 4, "failed": 1, "canceled": 0, "invalid": 1, "known": 2}
    rows = [{"id": "n1", "message": "s3://media/secret.wav is missing"}]

    body = told(type=kind, result={**counts, "problems": rows, "files": {"rows.jsonl": VIDEO["video"]}})

    assert body["data"]["counts"] == counts
    assert "secret" not in json.dumps(body)
    assert "counts" not in told()["data"]
