"""Batches, pipelines and notices over HTTP, on a made-up job system."""

import json
from uuid import UUID, uuid4

import pytest

from api.orchestrator.bucket_watches import BucketWatch
from flows.schemas.batch import RenderNewJob
from flows.schemas.control import Control

PLACES = {"video": "s3://media/anna.mp4", "audio": "s3://media/new/"}
JSON = {"Content-Type": "application/json"}
ROW = {"video": "s3://media/a.mp4", "audio": "s3://media/b.wav"}


def test_a_batch_is_a_job_with_routes_of_its_own(client, runs):
    sent = client.post("/v1/batches", json={"job_type": "lip_sync", "rows": [ROW]})
    assert sent.status_code == 202
    batch = sent.json()["id"]
    assert client.get(f"/v1/batches/{batch}").json()["type"] == "batch"
    part = runs.add(part_of=UUID(batch), part="row-1")
    runs.add()
    listed = client.get(f"/v1/batches/{batch}/jobs").json()["jobs"]
    assert [(job["id"], job["part"], job["part_of"]) for job in listed] == [(str(part.id), "row-1", batch)]
    assert client.get("/v1/jobs", params={"part_of": batch}).json()["jobs"] == listed
    lip_sync = runs.add()
    assert client.get(f"/v1/batches/{lip_sync.id}").status_code == 404
    assert client.get(f"/v1/batches/{uuid4()}").status_code == 404


def test_it_is_paused_resumed_and_stopped_with_its_parts(client, runs):
    batch = runs.add(type="batch", status="running")
    part = runs.add(part_of=batch.id, status="running")
    other = runs.running()
    path = f"/v1/batches/{batch.id}"
    assert client.post(f"{path}/pause").json()["paused"] is True
    assert client.post(f"{path}/pause").json()["paused"] is True
    assert client.post(f"{path}/resume").json()["paused"] is False
    assert client.post(f"{path}/cancel").json()["status"] == "canceled"
    assert runs.jobs[part.id].status == "canceled" and runs.jobs[other.id].status == "running"
    refused = client.post(f"{path}/pause")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ready")


@pytest.mark.parametrize(
    ("status", "failed", "code"), [("succeeded", 1, 202), ("succeeded", 0, 409), ("failed", 0, 202)]
)
def test_it_is_done_again_where_something_is_left_to_do(client, runs, status, failed, code):
    job = {"job_type": "lip_sync", "rows": [ROW]}
    batch = runs.add(type="batch", status=status, parameters=job, result={"failed": failed, "canceled": 0})
    answer = client.post(f"/v1/batches/{batch.id}/retry")
    assert answer.status_code == code
    if code == 202:
        assert answer.json()["retry_of"] == str(batch.id)


def test_a_dry_run_looks_at_every_row(client):
    rows = [ROW, ROW, {**ROW, "fps": 1000}]
    told = client.post(
        "/v1/jobs/batch", params={"dry_run": True}, json={"job_type": "lip_sync", "rows": rows}
    ).json()
    assert (told["valid"], told["total"], told["jobs"]) == (True, 3, 1)
    assert [(row["row"], row["faults"][0]["pointer"]) for row in told["bad_rows"]] == [(3, "#/fps")]


def test_a_pipeline_shows_each_step(client, runs):
    steps = [
        {"name": "speak", "type": "speech", "job": {"text": "Hello."}},
        {"name": "words", "type": "transcribe", "job": {"audio": "job://speak"}},
    ]
    pipeline = client.post("/v1/pipelines", json={"steps": steps}).json()["id"]
    part = runs.add(part_of=UUID(pipeline), part="speak", type="speech")
    told = client.get(f"/v1/pipelines/{pipeline}").json()
    assert told["job"]["id"] == pipeline
    assert told["steps"]["speak"]["id"] == str(part.id) and told["steps"]["words"] is None
    wrong = client.post("/v1/pipelines", json={"steps": [steps[1] | {"job": {"audio": "ftp://x"}}]})
    assert wrong.status_code == 422 and wrong.json()["errors"][0]["pointer"] == "#/steps/0/job/audio"


def test_a_tenants_pipeline_takes_in_its_steps_and_nobody_elses_jobs(client, runs, issue, connect, holding):
    theirs = runs.add(control=Control(tenant="other"))
    key = issue("acme", tenant="acme")
    client = connect()
    steps = [
        {"name": "speak", "type": "speech", "job": {"text": "Hello."}},
        {"name": "words", "type": "transcribe", "job": {"audio": "job://speak"}},
    ]
    assert client.post("/v1/pipelines", json={"steps": steps}, headers=key).status_code == 202
    steps[1]["job"]["audio"] = f"job://{theirs.id}"
    refused = client.post("/v1/pipelines", json={"steps": steps}, headers=key)
    assert (refused.status_code, refused.json()["code"]) == (422, "input_not_found")


def aws(*keys, event="ObjectCreated:Put"):
    return {
        "Records": [
            {"eventName": event, "s3": {"bucket": {"name": "media"}, "object": {"key": key}}} for key in keys
        ]
    }


NOTICES = {
    "aws": json.dumps(aws("new/hello+world%C3%BC.wav")),
    "minio": json.dumps({"Key": "media/new/a.wav"} | aws("new/a.wav", event="s3:ObjectCreated:Put")),
    "sns": json.dumps({"Type": "Notification", "Message": json.dumps(aws("new/a.wav"))}),
    "eventbridge": json.dumps(
        {
            "detail-type": "Object Created",
            "detail": {"bucket": {"name": "media"}, "object": {"key": "new/a.wav"}},
        }
    ),
    "the object of all rows": json.dumps(aws("anna.mp4")),
}


@pytest.mark.parametrize("notice", NOTICES.values(), ids=list(NOTICES))
def test_a_notice_has_the_tasks_look_whose_inputs_came(client, holding, notice):
    holding.known = [
        BucketWatch(RenderNewJob(name="morning", places=PLACES), Control()),
        BucketWatch(RenderNewJob(name="other", places={"audio": "s3://media/other/"}), Control()),
    ]
    answer = client.post("/v1/events/s3", content=notice, headers=JSON)
    assert answer.status_code == 202, answer.text
    assert [one["name"] for one in answer.json()["started"]] == holding.looked == ["morning"]


@pytest.mark.parametrize(
    "notice",
    [
        json.dumps(aws("new/a.wav", event="ObjectRemoved:Delete")),
        json.dumps(aws("newer/a.wav")),
        json.dumps({"Event": "s3:TestEvent", "Bucket": "media"}),
        json.dumps({"Type": "SubscriptionConfirmation", "SubscribeURL": "https://example.org/"}),
    ],
)
def test_other_notices_start_nothing(client, holding, notice):
    holding.known = [BucketWatch(RenderNewJob(name="morning", places=PLACES), Control())]
    answer = client.post("/v1/events/s3", content=notice, headers=JSON)
    assert answer.status_code == 202 and answer.json()["started"] == [] and holding.looked == []


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"Records": 1}',
        b'{"Records": [1]}',
        b'{"Records": [{"s3": {}}]}',
        b"\xff",
    ],
)
def test_what_is_no_notice_is_refused(client, body):
    answer = client.post("/v1/events/s3", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


def test_a_tenants_notice_starts_its_own_tasks(connect, holding, issue):
    key = issue("acme", tenant="acme")
    holding.known = [
        BucketWatch(RenderNewJob(name=name, places=PLACES), Control(tenant=name))
        for name in ("acme", "other")
    ]
    client = connect()
    answer = client.post("/v1/events/s3", json=aws("new/a.wav"), headers=key)
    assert answer.status_code == 202 and holding.looked == ["acme"]


def test_sns_calls_its_json_text_and_is_heard_where_keys_are_asked_for(connect, runs, issue, client, holding):
    """Without keys any page in a browser of this computer could send such a text."""
    text = {"Content-Type": "text/plain; charset=UTF-8"}
    assert client.post("/v1/events/s3", content=NOTICES["sns"], headers=text).status_code == 415
    key = issue("aws")
    guarded = connect()
    assert guarded.post("/v1/events/s3", content=NOTICES["sns"], headers=text | key).status_code == 202
    assert guarded.post("/v1/events/s3", content=NOTICES["sns"], headers=text).status_code in {401, 415}
