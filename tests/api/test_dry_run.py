"""A dry run checks inputs and the queue, reports every error, and queues nothing."""

from dataclasses import replace
from uuid import uuid4

import pytest

from api.jobs.eta import DurationStats
from tasks.storage.home_store import home_store

TEN_S = DurationStats(p50=10.0, p90=20.0, mean=12.0)


@pytest.fixture
def asset(client):
    def upload(content=b"not looked into", name="anna.mp4"):
        answer = client.post("/v1/assets", files={"file": (name, content)})
        assert answer.status_code == 201
        return answer.json()["uri"]

    return upload


def dry(client, job_type, **job):
    return client.post(f"/v1/jobs/{job_type}?dry_run=true", json=job)


def test_a_good_job_is_described_and_not_queued(client, runs, asset):
    runs.took = TEN_S
    for _ in range(3):
        runs.add()
    answer = dry(client, "lip_sync", video=asset(), audio=asset(b"12345", "hello.wav"))
    assert answer.status_code == 200
    said = answer.json()
    assert said["valid"] and said["type"] == "lip_sync" and said["warnings"] == []
    assert said["queue_position"] == 4
    assert said["run_s"] == {"p50_s": 10.0, "p90_s": 20.0}
    assert said["eta"] == {"p50_s": 4.0, "p90_s": 5.0}
    assert said["inputs"] == [
        {"pointer": "#/video", "name": "anna.mp4", "size": 15},
        {"pointer": "#/audio", "name": "hello.wav", "size": 5},
    ]
    assert runs.created == []


def test_nothing_is_guessed_where_nothing_is_known(client):
    said = dry(client, "speech", text="Hello.").json()
    assert said["run_s"] is None and said["eta"] is None
    assert "duration cannot be estimated" in said["warnings"][0]


def test_one_missing_input_is_refused_as_the_job_would_fail(client, runs, asset):
    answer = dry(client, "lip_sync", video=asset(), audio="asset://gone")
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "input_not_found"
    assert [fault["pointer"] for fault in problem["errors"]] == ["#/audio"]
    assert runs.created == []


def test_all_faults_come_at_once(client):
    answer = dry(client, "lip_sync", video="file:///etc/hostname", audio="asset://gone")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_input")
    assert {fault["pointer"]: fault["code"] for fault in problem["errors"]} == {
        "#/video": "local_path_disabled",
        "#/audio": "input_not_found",
    }


@pytest.mark.parametrize(
    "address",
    [
        "https://10.0.0.1/a.mp4",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/a.mp4",
        "https://[::ffff:10.0.0.1]/a.mp4",
        "https://2130706433/a.mp4",
        "http://example.org/a.mp4",
        "https://example.org:22/a.mp4",
        "https://xn--1-/a.mp4",
    ],
)
def test_an_address_that_no_job_may_fetch_is_refused_when_it_is_submitted(client, runs, asset, address):
    job = {"video": address, "audio": asset(b"12345", "hello.wav")}
    for answer in (client.post("/v1/jobs/lip_sync", json=job), dry(client, "lip_sync", **job)):
        assert (answer.status_code, answer.json()["code"]) == (422, "input_unreachable")
        assert [fault["pointer"] for fault in answer.json()["errors"]] == ["#/video"]
    assert runs.created == []


def test_an_input_over_its_limit(connect, environment):
    environment.setenv("MUSETALK_MEDIA__AUDIO_BYTES", "10")
    client = connect()
    uri = client.post("/v1/assets", files={"file": ("long.wav", b"x" * 11)}).json()["uri"]
    answer = dry(client, "transcribe", audio=uri)
    assert (answer.status_code, answer.json()["code"]) == (422, "input_too_large")


def test_what_another_job_makes(client, runs, finished, asset):
    done, busy = finished(), runs.running()
    audio = asset(b"12345", "hello.wav")
    assert dry(client, "lip_sync", video=f"job://{done.id}", audio=audio).status_code == 200
    for uri in (f"job://{busy.id}", f"job://{uuid4()}", f"job://{done.id}/other.mp4"):
        answer = dry(client, "lip_sync", video=uri, audio=audio)
        assert (answer.status_code, answer.json()["code"]) == (422, "input_not_found"), uri


def test_a_nested_reference_is_looked_at_and_a_text_that_looks_like_one_is_not(client, asset):
    voice = {"voice": "clone", "reference_audio": "asset://gone", "reference_text": "Hello.", "consent": True}
    answer = dry(client, "portrait", image=asset(), text="asset://nothing", voice=voice)
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["#/voice/reference_audio"]


def test_any_type_and_avatars_too(client, runs, asset):
    job = {"type": "prepare_avatar", "video": asset()}
    assert client.post("/v1/jobs?dry_run=true", json=job).json()["type"] == "prepare_avatar"
    del job["type"]
    assert client.post("/v1/avatars?dry_run=true", json=job).json()["type"] == "prepare_avatar"
    assert runs.created == []


def test_it_counts_against_the_rate(connect, environment, runs):
    environment.setenv("MUSETALK_API__SUBMIT_RATE", "2/minute")
    client = connect()
    codes = [dry(client, "speech", text="Hello.").status_code for _ in range(3)]
    assert codes == [200, 200, 429]


def test_a_tenant_learns_nothing_of_others(connect, runs, issue, finish):
    from flows.schemas.control import Control

    client, acme = connect(), issue("a", tenant="acme")
    foreign = finish(runs.add(control=Control(tenant="other")))
    runs.jobs[foreign.id] = replace(foreign, status="succeeded")
    answer = client.post(
        "/v1/jobs/transcribe?dry_run=true", json={"audio": f"job://{foreign.id}"}, headers=acme
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "input_not_found")


def test_nothing_is_left_in_the_store(client, asset):
    before = [info.key for info in home_store().list()]
    dry(client, "speech", text="Hello.")
    assert [info.key for info in home_store().list()] == before
