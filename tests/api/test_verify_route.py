"""POST /v1/verify: uploads and references become a verify job, whose result is the answer."""

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from verify_results import RESULT

from flows.prefect_state.status import JobError


@pytest.fixture
def finished(runs):
    runs.on_create = lambda run: replace(run, status="succeeded", result=RESULT)
    return runs


def media(runs):
    [(job_type, job, _)] = runs.created
    assert job_type.name == "verify"
    return job.media


def test_a_reference_is_checked(client, finished):
    answer = client.post("/v1/verify", json={"media": "s3://media/a.wav"})
    assert answer.status_code == 200
    assert answer.json()["state"] == "no_manifest" and answer.json()["found"] == RESULT["found"]
    assert UUID(answer.json()["job"]) in finished.jobs
    assert media(finished) == "s3://media/a.wav"


def test_the_id_of_a_job_stands_for_its_output(client, finished):
    job = uuid4()
    assert client.post("/v1/verify", json={"media": str(job)}).status_code == 200
    assert media(finished) == f"job://{job}"


@pytest.mark.parametrize("form", [True, False])
def test_an_upload_becomes_an_asset(client, finished, form):
    more = (
        {"files": {"file": ("a.wav", b"RIFF....WAVE")}}
        if form
        else {"content": b"RIFF....WAVE", "headers": {"Content-Type": "application/octet-stream"}}
    )
    answer = client.post("/v1/verify", **more)
    assert answer.status_code == 200, answer.text
    assert media(finished).startswith("asset://")


def test_a_check_that_is_not_finished_is_answered_with_its_job(client, runs):
    answer = client.post("/v1/verify", json={"media": "s3://media/a.wav"}, headers={"Prefer": "wait=0"})
    assert answer.status_code == 202
    assert (answer.json()["type"], answer.json()["status"]) == ("verify", "queued")
    assert "Retry-After" in answer.headers


def test_a_failed_check_is_a_problem(client, runs):
    missing = JobError("input_not_found", "There is no object a.wav.", False)
    runs.on_create = lambda run: replace(run, status="failed", error=missing)
    answer = client.post("/v1/verify", json={"media": "s3://media/a.wav"})
    assert (answer.status_code, answer.json()["code"]) == (422, "input_not_found")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"media": "/etc/passwd"}, 422),
        ({"media": "ftp://x/y"}, 422),
        ({}, 422),
        ({"media": "s3://media/a.wav", "other": 1}, 422),
        ({"media": "s3://media/a\u0000.wav"}, 400),
        ([], 422),
    ],
)
def test_a_wrong_body_is_refused(client, runs, body, status):
    answer = client.post("/v1/verify", json=body)
    assert (answer.status_code, runs.created) == (status, []), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b'{"media": "' + b"x" * 2_000_000 + b'"}'])
def test_json_that_is_none_deep_or_too_long_is_refused(client, runs, content):
    answer = client.post("/v1/verify", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 413) and runs.created == []
