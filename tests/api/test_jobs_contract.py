"""The contract of /v1: idempotency, preferences, lists, event streams and retries."""

import json
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from jsonschema import Draft202012Validator

from api.jobs.model import LogLine
from flows.prefect_state.status import Progress
from flows.registry import JOB_TYPES

LIP_SYNC = {"video": "s3://media/anna.mp4", "audio": "https://example.org/hello.wav"}


def submit(client, body=LIP_SYNC, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/v1/jobs/lip_sync", json=body, headers=names)


def soon(change, after_s=0.3):
    timer = threading.Timer(after_s, change)
    timer.start()
    return timer


def test_how_a_job_is_to_be_taken_stands_beside_it(client, runs):
    control = {"priority": "high", "max_time": 60, "tags": ["campaign:x"], "metadata": {"order": "17"}}

    body = submit(client, LIP_SYNC | {"control": control}).json()

    assert (body["tags"], body["metadata"]) == (["campaign:x"], {"order": "17"})
    assert body["control"] == {"priority": "high", "max_time": 60, "complete_in": None, "notify": None}
    [(_, job, _)] = runs.created
    assert job == JOB_TYPES["lip_sync"].job.model_validate(LIP_SYNC)
    assert job.model_fields_set == {"video", "audio"}


@pytest.mark.parametrize(
    "control",
    [
        {"tags": ["tenant acme"]},
        {"tags": ["x" * 65]},
        {"tags": [f"t{n}" for n in range(51)]},
        {"metadata": {"a b": "c"}},
        {"metadata": {"a": "x" * 501}},
        {"metadata": {"a": 1}},
        {"tenant": "acme"},
        {"priority": "urgent"},
    ],
)
def test_control_is_checked(client, runs, control):
    answer = submit(client, LIP_SYNC | {"control": control})

    assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"].startswith("#/control/")
    assert not runs.created


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("2 h", 7200), ("1d", 86400)]
)
def test_cancel_after_is_the_deadline(client, runs, text, seconds):
    assert submit(client, Cancel_After=text).status_code == 202
    assert runs.controls[0].complete_in == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "0", "31d", "1e3"])
def test_cancel_after_is_checked(client, runs, text):
    answer = submit(client, Cancel_After=text)

    assert answer.status_code == 400 and not runs.created


def test_any_type_is_taken_by_one_route(client, runs):
    answer = client.post("/v1/jobs", json={"type": "speech", "text": "Hello."})
    unknown = client.post("/v1/jobs", json={"type": "dance"})
    missing = client.post("/v1/jobs", json=LIP_SYNC)

    assert answer.status_code == 202 and answer.json()["type"] == "speech"
    assert runs.created[0][1].text == "Hello."
    assert unknown.status_code == missing.status_code == 422
    faults = client.post("/v1/jobs", json={"type": "lip_sync", "video": "/etc/passwd"}).json()["errors"]
    assert {fault["pointer"].rpartition("/")[2] for fault in faults} == {"video", "audio"}


def test_the_same_key_gives_the_same_job(client, runs):
    first = submit(client, Idempotency_Key="order-17")
    again = submit(client, {**dict(reversed(LIP_SYNC.items()))}, Idempotency_Key='"order-17"')
    other = submit(client, LIP_SYNC | {"fps": 30}, Idempotency_Key="order-17")
    elsewhere = client.post("/v1/jobs/speech", json={"text": "Hi."}, headers={"Idempotency-Key": "order-17"})

    assert "idempotent-replayed" not in first.headers
    assert again.json()["id"] == first.json()["id"] and again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert elsewhere.status_code == 202 and len(runs.created) == 2


def test_a_job_that_ends_within_the_wait_is_answered_with_its_result(client, runs, finish):
    runs.on_create = lambda run: (soon(lambda: runs.jobs.update({run.id: finish(run)})), run)[1]

    answer = submit(client, Prefer="wait=10")

    assert (answer.status_code, answer.json()["status"]) == (201, "succeeded")
    assert answer.headers["preference-applied"] == "wait=10" and answer.headers["vary"] == "Prefer"
    assert "retry-after" not in answer.headers


def test_a_job_that_takes_longer_is_answered_when_the_wait_is_over(client):
    began = time.monotonic()
    answer = submit(client, Prefer="respond-async, wait=1")

    assert answer.status_code == 202 and 1.0 <= time.monotonic() - began < 15
    assert answer.headers["preference-applied"] == "respond-async, wait=1"


def test_a_wait_is_bounded_by_the_operator(connect, environment):
    environment.setenv("MUSETALK_API__MAX_WAIT_S", "0")
    answer = submit(connect(), Prefer="wait=30")

    assert answer.status_code == 202 and answer.headers["preference-applied"] == "wait=0"


@pytest.mark.parametrize("prefer", ["handling=lenient", "wait=soon", "wait=-1", "wait=1.5", "xwait=1"])
def test_other_preferences_are_ignored(client, prefer):
    answer = submit(client, Prefer=prefer)

    assert answer.status_code == 202 and "preference-applied" not in answer.headers


def test_what_is_known_is_not_sent_again(client, runs):
    run = runs.running()
    first = client.get(f"/v1/jobs/{run.id}")

    same = client.get(f"/v1/jobs/{run.id}", headers={"If-None-Match": f'"x", W/{first.headers["etag"]}'})
    runs.jobs[run.id] = replace(run, progress=Progress(41.0, "render", 31, 100))
    changed = client.get(f"/v1/jobs/{run.id}", headers={"If-None-Match": first.headers["etag"]})

    assert (same.status_code, same.content) == (304, b"") and same.headers["etag"] == first.headers["etag"]
    assert changed.status_code == 200 and changed.headers["etag"] != first.headers["etag"]


def test_a_long_poll_is_answered_when_the_job_changes(client, runs, finish):
    run = runs.running()
    began = time.monotonic()
    soon(lambda: runs.jobs.update({run.id: finish(run)}), 0.5)

    answer = client.get(f"/v1/jobs/{run.id}", headers={"Prefer": "wait=25"})

    assert answer.json()["status"] == "succeeded" and 0.5 <= time.monotonic() - began < 12
    assert answer.headers["preference-applied"] == "wait=25" and "retry-after" not in answer.headers


def test_a_long_poll_without_a_change_ends_in_time(client, runs):
    run = runs.running()
    known = client.get(f"/v1/jobs/{run.id}").headers["etag"]
    began = time.monotonic()

    answer = client.get(f"/v1/jobs/{run.id}", headers={"Prefer": "wait=1", "If-None-Match": known})

    assert answer.status_code == 304 and 1.0 <= time.monotonic() - began < 15


def test_lists_are_filtered_and_go_on_where_they_ended(client, runs):
    mine = [runs.add(tags=("a", "b"), status="failed").id for _ in range(3)]
    runs.add(tags=("a",), status="failed")
    runs.add(tags=("a", "b"), type="speech")

    query = {"tag": ["a", "b"], "type": "lip_sync", "status": ["failed", "running"], "limit": 2}
    first = client.get("/v1/jobs", params=query)
    second = client.get(first.headers["link"].split(">")[0][1:])

    found = [job["id"] for page in (first, second) for job in page.json()["jobs"]]
    assert found == [str(job) for job in reversed(mine)]
    assert first.json()["next_cursor"] and second.json()["next_cursor"] is None
    assert "link" not in second.headers


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "status=done",
        "type=dance",
        "created_after=2026-01-01T00:00:00",
        "offset=3",
        "search=%20",
    ],
)
def test_a_list_s_filters_are_checked(client, query):
    answer = client.get(f"/v1/jobs?{query}")

    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == f"query {query.partition('=')[0]}"


def test_a_failed_job_is_done_again_as_a_new_one(client, runs):
    first = submit(client, LIP_SYNC | {"control": {"tags": ["x"], "priority": "low"}}).json()
    run = UUID(first["id"])
    assert client.post(f"/v1/jobs/{run}/retry").json()["code"] == "not_retryable"
    runs.jobs[run] = replace(runs.jobs[run], status="failed")

    again = client.post(f"/v1/jobs/{run}/retry")
    twice = client.post(f"/v1/jobs/{run}/retry")
    third = client.post(f"/v1/jobs/{run}/retry", headers={"Idempotency-Key": "once-more"})

    assert again.status_code == 202 and again.json()["retry_of"] == str(run)
    assert (again.json()["tags"], again.json()["control"]["priority"]) == (["x"], "low")
    assert twice.json()["id"] == again.json()["id"] and twice.headers["idempotent-replayed"] == "true"
    assert third.json()["id"] not in {str(run), again.json()["id"]}
    assert runs.created[0][1] == runs.created[1][1]


def events_of(text):
    found = []
    for block in filter(None, text.strip().split("\n\n")):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        found.append((fields["event"], fields["id"], json.loads(fields["data"])))
    return found


def test_a_job_is_followed_to_its_end(client, runs, finish):
    run = runs.add()
    started = replace(run, status="running", started=datetime.now(UTC))
    soon(lambda: runs.jobs.update({run.id: started}), 0.2)
    soon(lambda: runs.jobs.update({run.id: replace(started, progress=Progress(40.0, "render", 4, 10))}), 0.4)
    soon(lambda: runs.jobs.update({run.id: finish(started)}), 0.6)

    answer = client.get(f"/v1/jobs/{run.id}/events")

    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert [name for name, _, _ in events] == ["queued", "started", "progress", "succeeded"]
    assert events[2][2]["progress"]["percent"] == 40 and events[3][2]["result_url"]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ("", ["queued", "started", "succeeded"]),
        ("0-0", ["started", "succeeded"]),
        ("1-400", ["succeeded"]),
        ("2-0", []),
    ],
)
def test_a_reader_that_comes_back_gets_what_it_missed_once(client, runs, finish, last, expected):
    run = runs.add(status="running", started=datetime.now(UTC))
    runs.jobs[run.id] = finish(run)

    answer = client.get(f"/v1/jobs/{run.id}/events", headers={"Last-Event-ID": last})

    assert (
        [name for name, _, _ in events_of(answer.text)] == expected if expected else not answer.text.strip()
    )


def test_a_stream_is_refused_before_it_begins(client, runs):
    unknown = client.get(f"/v1/jobs/{uuid4()}/events")
    strange = client.get(f"/v1/jobs/{runs.running().id}/events", headers={"Last-Event-ID": "seven"})

    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert (strange.status_code, strange.json()["code"]) == (400, "malformed_request")


def test_logs_are_read_in_parts(client, runs):
    run = runs.running()
    runs.lines[run.id] = [
        LogLine(uuid4(), datetime.now(UTC), level, f"line {n}") for n, level in enumerate([20, 10, 40, 20])
    ]

    first = client.get(f"/v1/jobs/{run.id}/logs?limit=2").json()
    second = client.get(f"/v1/jobs/{run.id}/logs", params={"after": first["next"]}).json()
    grave = client.get(f"/v1/jobs/{run.id}/logs?level=error").json()

    assert [line["message"] for line in first["lines"]] == ["line 0", "line 2"]
    assert [line["message"] for line in second["lines"]] == ["line 3"]
    assert [(line["level"], line["message"]) for line in grave["lines"]] == [("error", "line 2")]
    assert client.get(f"/v1/jobs/{run.id}/logs?level=loud").status_code == 422


def test_every_type_has_a_schema_that_takes_its_requests(client):
    assert client.get("/v1/schemas").json()["types"] == list(JOB_TYPES)
    for name in JOB_TYPES:
        schema = client.get(f"/v1/schemas/{name}").json()["request"]
        Draft202012Validator.check_schema(schema)
    schema = Draft202012Validator(client.get("/v1/schemas/lip_sync").json()["request"])
    assert schema.is_valid(LIP_SYNC | {"control": {"tags": ["x"]}})
    assert not schema.is_valid(LIP_SYNC | {"vidoe": "x"})
    assert client.get("/v1/schemas/dance").status_code == 404


def test_who_is_to_be_told_stands_in_the_control(client, runs):
    notify = {"url": "https://example.org/hook", "events": ["completed"], "signed_links": False}
    body = submit(client, LIP_SYNC | {"control": {"notify": notify}}).json()

    assert body["control"]["notify"] == notify and runs.controls[0].notify.url == notify["url"]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/x",
        "http://example.org/x",
        "https://example.org:22/",
        "hook",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fd00:ec2::254]:443/",
    ],
)
def test_an_address_that_is_never_told_is_refused_at_once(client, runs, url):
    answer = submit(client, LIP_SYNC | {"control": {"notify": {"url": url}}})

    assert answer.status_code == 422 and not runs.created
    assert answer.json()["errors"][0]["pointer"] == "#/control/notify/url"
