"""The description of the API: committed, valid, and true of problems and webhooks."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from api.errors import CODES
from flows.prefect_state.status import JobError
from flows.webhooks.payload import JobSnapshot, build_payload

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "api" / "openapi.json"


@pytest.fixture
def description(client):
    return client.get("/openapi.json").json()


def validator(description, model):
    wanted = {"$ref": f"#/components/schemas/{model}", "components": description["components"]}
    return Draft202012Validator(wanted)


def test_the_committed_description_is_that_of_the_code(description):
    assert json.loads(COMMITTED.read_text()) == description, (
        "python -m api.__main__ > docs/api/openapi.json brings it up to date"
    )


def test_it_is_valid_openapi(description):
    assert description["openapi"].startswith("3.1")
    validate(description)


def test_every_operation_may_answer_a_problem_and_nothing_of_the_framework_s_own(description):
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            assert "application/problem+json" in answers["default"]["content"], (method, path)
            assert "422" not in answers
    assert "HTTPValidationError" not in description["components"]["schemas"]


def test_problems_are_as_described(client, description, runs):
    check = validator(description, "ProblemDocument")
    answers = [
        client.get("/v1/jobs/17"),
        client.get("/nowhere"),
        client.post("/v1/jobs/lip_sync", json={"fps": 900}),
        client.post("/csm", json={}),
        client.post("/v1/jobs/speech", content=b"{", headers={"content-type": "application/json"}),
        client.put("/v1/jobs"),
    ]
    for answer in answers:
        check.validate(answer.json())
        assert answer.status_code >= 400 and answer.headers["content-type"] == "application/problem+json"
    assert set(description["components"]["schemas"]["ProblemDocument"]["properties"]["code"]["enum"]) == set(
        CODES
    )


def test_jobs_are_as_described(client, description, runs, finished):
    check = validator(description, "JobView")
    for run in (runs.add(), runs.running(), runs.failed(), finished()):
        check.validate(client.get(f"/v1/jobs/{run.id}").json())


def test_webhooks_are_as_described(description):
    check = validator(description, "WebhookMessage")
    now = datetime.now(UTC)
    usual = {"id": uuid4(), "type": "speech", "created": now, "started": now, "ended": now}
    error = JobError("no_face", "No frame shows a face.", False)
    stored = {"audio": {"uri": "s3://b/k.mp3"}, "name": "k.mp3"}
    for event, fields in [
        ("started", {"status": "running"}),
        ("completed", {"status": "succeeded", "result": stored}),
        ("completed", {"status": "succeeded", "result": {"text": "Hello."}, "type": "transcribe"}),
        ("failed", {"status": "failed", "error": error}),
        ("canceled", {"status": "aborted", "started": None}),
    ]:
        check.validate(
            json.loads(build_payload(event, JobSnapshot(**usual | fields), "https://render.example"))
        )
    assert "job-event" in description["webhooks"]
