from uuid import uuid4

import pytest

from flows.prefect_state.status import Progress
from flows.registry import JOB_TYPES

LIP_SYNC = {"video": "s3://media/anna.mp4", "audio": "https://example.org/hello.wav"}


def test_a_job_is_queued_and_answered_with_where_to_look(client, runs):
    answer = client.post("/v1/jobs/lip_sync", json=LIP_SYNC, headers={"Idempotency-Key": "k1"})

    [(job_type, job, key)] = runs.created
    assert answer.status_code == 202
    assert (job_type.name, len(key or "")) == ("lip_sync", 64)
    assert job == JOB_TYPES["lip_sync"].job.model_validate(LIP_SYNC)
    body = answer.json()
    assert body["status"] == "queued" and body["progress"]["percent"] == 0
    assert answer.headers["location"] == f"/v1/jobs/{body['id']}"
    assert answer.headers["retry-after"] == "2"
    assert client.get(answer.headers["location"]).json() == body


def test_every_job_type_has_its_own_request_schema(client):
    schema = client.get("/openapi.json").json()

    for name, job_type in JOB_TYPES.items():
        body = schema["paths"][f"/v1/jobs/{name}"]["post"]["requestBody"]
        assert body["content"]["application/json"]["schema"]["$ref"].endswith(
            f"{job_type.job.__name__}Request"
        )


def test_every_operation_has_an_id_of_its_own(client):
    paths = client.get("/openapi.json").json()["paths"]
    ids = [operation["operationId"] for path in paths.values() for operation in path.values()]

    assert len(ids) == len(set(ids))


def test_unknown_fields_are_refused_with_their_place(client, runs):
    answer = client.post("/v1/jobs/lip_sync", json=LIP_SYNC | {"vidoe": "typo"})

    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["#/vidoe"]
    assert not runs.created


def test_all_faults_are_told_at_once(client):
    answer = client.post("/v1/jobs/lip_sync", json={"video": "/etc/passwd", "audio": "s3://x", "fps": 900})

    faults = {fault["pointer"]: fault["code"] for fault in answer.json()["errors"]}
    assert faults == {
        "#/video": "local_path_disabled",
        "#/audio": "invalid_input",
        "#/fps": "invalid_input",
    }


def test_an_empty_idempotency_key_is_refused(client, runs):
    answer = client.post("/v1/jobs/lip_sync", json=LIP_SYNC, headers={"Idempotency-Key": ""})

    assert answer.status_code == 400 and not runs.created


def test_a_running_job_tells_its_phase_and_frames(client, runs):
    body = client.get(f"/v1/jobs/{runs.running().id}").json()

    assert body["status"] == "running" and body["phase"] == "render"
    assert body["progress"] == {"percent": 40.0, "done": 30, "total": 100, "preview": 0}
    assert body["result_url"] is None and body["cancel_url"].endswith(f"/v1/jobs/{body['id']}/cancel")


def test_progress_is_never_complete_before_the_result_is_there(client, runs):
    run = runs.add(status="running", progress=Progress(100.0, "upload", 1, 1))

    assert client.get(f"/v1/jobs/{run.id}").json()["progress"]["percent"] < 100


def test_a_failed_job_tells_why(client, runs):
    body = client.get(f"/v1/jobs/{runs.failed('gpu_oom', 'Too big.', True).id}").json()

    assert body["status"] == "failed"
    assert body["error"] == {"code": "gpu_oom", "message": "Too big.", "retryable": True}


def test_a_result_names_no_path_of_the_server(client, finished, tmp_path):
    run = finished()

    answer = client.get(f"/v1/jobs/{run.id}")

    assert answer.json()["result"]["video"]["uri"] == f"job://{run.id}/anna_hello.mp4"
    assert str(tmp_path) not in answer.text
    assert answer.json()["progress"]["percent"] == 100 and answer.json()["cancel_url"] is None


@pytest.mark.parametrize("path", ["", "/files/x.mp4", "/result"])
def test_an_unknown_job_is_not_found(client, path):
    answer = client.get(f"/v1/jobs/{uuid4()}{path}")

    assert answer.status_code == 404 and answer.json()["code"] == "not_found"


def test_an_id_that_is_none_is_malformed(client):
    answer = client.get("/v1/jobs/17")

    assert answer.status_code == 400 and answer.json()["code"] == "malformed_request"


def test_ids_are_the_same_in_capitals(client, runs):
    run = runs.running()

    assert client.get(f"/v1/jobs/{str(run.id).upper()}").json()["id"] == str(run.id)


@pytest.mark.parametrize(("method", "path"), [("POST", "/cancel"), ("DELETE", "")])
def test_a_job_is_cancelled(client, runs, method, path):
    run = runs.running()

    answer = client.request(method, f"/v1/jobs/{run.id}{path}")

    assert answer.status_code == 200 and answer.json()["status"] == "canceled"


def test_a_job_that_has_ended_stays_as_it_is(client, runs):
    run = runs.failed()

    assert client.post(f"/v1/jobs/{run.id}/cancel").json()["status"] == "failed"


def test_the_file_of_a_job_is_given_whole_and_in_parts(client, finished):
    run = finished()
    url = client.get(f"/v1/jobs/{run.id}").json()["result_url"]

    whole = client.get(url)
    part = client.get(url, headers={"Range": "bytes=2-4"})

    assert whole.content == b"0123456789" and whole.headers["content-type"] == "video/mp4"
    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["content-range"] == "bytes 2-4/10"
    assert client.head(url).headers["content-length"] == "10"
    assert client.get(f"/v1/jobs/{run.id}/result").content == b"0123456789"
    assert client.head(f"/v1/jobs/{run.id}/result").headers["content-length"] == "10"


@pytest.mark.parametrize("name", ["other.mp4", "..%2F..%2Fup.json", "anna_hello.mp4%00"])
def test_only_the_file_of_the_job_is_given(client, finished, name):
    run = finished()

    assert client.get(f"/v1/jobs/{run.id}/files/{name}").status_code == 404


def test_a_file_is_not_ready_before_the_job_is(client, runs):
    answer = client.get(f"/v1/jobs/{runs.running().id}/result")

    assert answer.status_code == 409 and answer.json()["code"] == "not_ready"
    assert answer.json()["retryable"] and answer.headers["retry-after"] == "2"


def test_a_file_that_was_removed_is_expired(client, finished):
    from tasks.storage.home_store import home_store

    run = finished()
    home_store().delete(f"outputs/{run.id}/anna_hello.mp4")

    answer = client.get(f"/v1/jobs/{run.id}/files/anna_hello.mp4")

    assert answer.status_code == 410 and answer.json()["code"] == "expired"


@pytest.mark.parametrize(
    ("path", "body", "pointer", "detail"),
    [
        ("speech", {"txt": "Hi."}, "#/txt", "unknown field txt. Did you mean text?"),
        ("speech", {"text": "Hi.", "output": {"names": "a"}}, "#/output/names", "Did you mean name?"),
        (
            "speech",
            {"text": "Hi.", "control": {"prioritty": "high"}},
            "#/control/prioritty",
            "Did you mean priority?",
        ),
        ("lip_sync", {"xyzzy": 1}, "#/xyzzy", "unknown field xyzzy; known are video, audio, text"),
        ("", {"type": "speech", "txt": "Hi."}, "#/txt", "unknown field txt. Did you mean text?"),
        ("", {"type": "speach", "text": "Hi."}, "#/", "unknown type speach. Did you mean speech?"),
    ],
)
def test_a_misspelt_name_is_told_with_the_right_one(client, runs, path, body, pointer, detail):
    answer = client.post(f"/v1/jobs/{path}".rstrip("/"), json=body)
    told = {fault["pointer"]: fault["detail"] for fault in answer.json()["errors"]}
    assert answer.status_code == 422 and detail in told[pointer]
    assert not runs.created


def test_an_unknown_type_in_the_address_is_told_with_the_right_one(client, runs):
    answer = client.post("/v1/jobs/speach", json={"text": "Hi."})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["detail"].startswith("There is no job type speach. Did you mean speech? There are ")
    assert "Did you mean" not in client.post("/v1/jobs/xyzzy", json={}).json()["detail"]


def test_an_id_that_is_none_is_told_with_an_example(client):
    for path in ("/v1/jobs/nope", "/v1/jobs/68346680-0501/files/a.mp4"):
        answer = client.get(path)
        assert answer.status_code == 400 and "expected an id such as 0b7c6f0e-" in answer.json()["detail"]
