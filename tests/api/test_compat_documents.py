"""Requests with all that both older services documented, and the variables their documents name."""

import os
from dataclasses import replace
from uuid import UUID

import pytest
from compat_documents import C3, INFERENCE, INFERENCE_MINIMAL, INFERENCE_NAME, INFERENCE_QUERY

from tasks.settings import Settings, get_settings, unknown_variables
from tasks.storage import s3_clients

JSON = {"Content-Type": "application/json"}
INFERENCE_FIELDS = {
    "avatar_id": str,
    "audio_id": str,
    "output_path": str,
    "s3_output_path": str,
    "message": str,
}
JOB_TYPES = {"/csm": "speech", "/portrait": "portrait", "/whisper": "transcribe", "/analyze": "analyze"}
NO_EFFECT = {"consent_assumed"}
"""Fields of documented requests about which an answer may warn."""


def send(client, path, text, **more):
    return client.post(path, content=text.encode(), headers=JSON, **more)


def in_bucket(run):
    where = (
        f"s3://{run.parameters['output']['bucket']}/{run.parameters['output']['prefix']}/{INFERENCE_NAME}.mp4"
    )
    result = {
        "video": {"uri": where, "version": "e:1", "size": 77},
        "name": f"{INFERENCE_NAME}.mp4",
        "duration_s": 3.2,
        "warnings": [],
    }
    return replace(run, status="succeeded", result=result)


def test_the_request_to_lip_sync_is_answered_with_all_documented_fields(client, runs):
    runs.on_create = in_bucket

    answer = send(client, "/inference", INFERENCE, params=INFERENCE_QUERY)

    body = answer.json()
    assert answer.status_code == 200
    assert {name: type(body[name]) for name in INFERENCE_FIELDS} == INFERENCE_FIELDS
    assert list(body)[:5] == list(INFERENCE_FIELDS)
    assert {name: body[name] for name in INFERENCE_QUERY} == INFERENCE_QUERY
    assert body["s3_output_path"] == f"s3://project-media/lip_sync/outputs/{INFERENCE_NAME}.mp4"
    assert body["message"] == "Inference completed successfully"


def test_the_shortest_request_to_lip_sync_needs_no_bucket(client, runs, finish):
    runs.on_create = finish

    answer = send(client, "/inference", INFERENCE_MINIMAL, params=INFERENCE_QUERY)

    body = answer.json()
    assert answer.status_code == 200 and [text.split(":")[0] for text in body["warnings"]] == ["no_bucket"]
    types = INFERENCE_FIELDS | {"s3_output_path": type(None)}
    assert {name: type(body[name]) for name in INFERENCE_FIELDS} == types


def test_the_comments_of_the_first_document_are_a_400(client, runs):
    commented = INFERENCE.replace('"version": "v15",', '"version": "v15", // "v1" or "v15"')

    answer = send(client, "/inference", commented, params=INFERENCE_QUERY)

    assert (answer.status_code, type(answer.json()["detail"])) == (400, str)
    assert not runs.created


@pytest.mark.parametrize("name", C3)
def test_a_request_to_queue_a_job_is_answered_with_the_documented_fields(client, runs, name):
    route = name.partition(",")[0]

    answer = send(client, route, C3[name])

    body = answer.json()
    assert (answer.status_code, list(body)[:2], body["status"]) == (200, ["id", "status"], "queued")
    assert UUID(body["id"]) in runs.jobs and body["id"] == str(UUID(body["id"]))
    assert {warning.partition(":")[0] for warning in body.get("warnings", [])} <= NO_EFFECT
    assert [job_type.name for job_type, _, _ in runs.created] == [JOB_TYPES[route]]


@pytest.mark.parametrize("name", C3)
def test_its_status_and_result_have_the_documented_fields_while_it_waits(client, runs, name):
    job = send(client, name.partition(",")[0], C3[name]).json()["id"]

    status, result = client.get(f"/status/{job}"), client.get(f"/result/{job}")

    assert (status.status_code, list(status.json().items())[:2]) == (
        200,
        [("id", job), ("status", "queued")],
    )
    assert (result.status_code, result.json()["error"], result.json()["status"]) == (
        400,
        "Job not completed",
        "queued",
    )


ENDED = {"speech": "audio", "portrait": "video", "transcribe": "text", "analyze": "text"}


@pytest.mark.parametrize("name", C3)
def test_its_result_has_the_documented_fields_once_it_is_done(client, runs, finish, name):
    def done(run):
        ended = finish(run, name="made.bin")
        kind = ENDED[run.type]
        made = ended.result["video"]
        if kind == "text":
            return replace(ended, result={"text": "A desk.", "warnings": []})
        return replace(ended, result={**ended.result, "video": None, kind: made})

    runs.on_create = done
    job = send(client, name.partition(",")[0], C3[name]).json()["id"]

    answer = client.get(f"/result/{job}")

    body = answer.json()
    field = "text" if ENDED[runs.jobs[UUID(job)].type] == "text" else "result_url"
    assert (answer.status_code, list(body)[:3]) == (200, ["id", "status", field])
    assert (body["id"], body["status"], type(body[field])) == (job, "success", str)
    if field == "result_url":
        assert client.get(body["result_url"]).content == b"0123456789"


# --- variables

DOCUMENTED = {
    "REDIS_HOST": "localhost",
    "REDIS_PORT": "6379",
    "FLASK_SECRET_KEY": "change-me",
    "API_HOST": "127.0.0.1",
    "API_PORT": "5000",
    "DEFAULT_MAX_TIME": "900",
    "DEFAULT_COMPLETE_IN": "1800",
    "AWS_ACCESS_KEY_ID": "documented",
    "AWS_SECRET_ACCESS_KEY": "secret",
}


@pytest.fixture
def documented(environment):
    """All variables of both documents, and no others of theirs or ours that say the same."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "MUSETALK_API__")) or name in {"PORT", *DOCUMENTED}:
            environment.delenv(name)
    for name, value in DOCUMENTED.items():
        environment.setenv(name, value)
    get_settings.cache_clear()
    s3_clients.client.cache_clear()  # one that another test built has no credentials
    yield environment
    s3_clients.client.cache_clear()


def test_host_and_port_are_taken(documented):
    assert (get_settings().api.host, get_settings().api.port) == ("127.0.0.1", 5000)
    documented.delenv("API_PORT")
    documented.setenv("PORT", "5001")
    assert Settings().api.port == 5001


@pytest.mark.parametrize("name", C3)
def test_usual_times_are_those_of_the_variables_unless_a_request_says_others(documented, connect, runs, name):
    send(connect(), name.partition(",")[0], C3[name])

    said = (1200, 3600) if '"max_time"' in C3[name] else (900, 1800)
    assert [(terms.max_time, terms.complete_in) for terms in runs.controls] == [said]


def test_without_the_variables_the_documented_times_are_usual(connect, environment, runs):
    for name in ("DEFAULT_MAX_TIME", "DEFAULT_COMPLETE_IN"):
        environment.delenv(name, raising=False)

    send(connect(), "/analyze", C3["/analyze"])

    assert [(terms.max_time, terms.complete_in) for terms in runs.controls] == [(1200, 3600)]


def test_the_credentials_of_the_environment_sign_what_goes_to_s3(documented):
    client = s3_clients.client(get_settings().s3, False, os.getpid())
    found = client._request_signer._credentials.get_frozen_credentials()

    assert (found.access_key, found.secret_key) == ("documented", "secret")


def test_variables_without_a_use_here_stop_nothing(documented, connect):
    assert connect().get("/healthz").status_code == 200
    assert unknown_variables() == ()


def test_a_public_host_without_keys_does_not_start(documented, connect):
    documented.setenv("API_HOST", "0.0.0.0")

    with pytest.raises(Exception, match="MUSETALK_API__KEYS"):
        connect()
