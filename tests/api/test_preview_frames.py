"""Preview frames of running jobs: route, tenants and events."""

from dataclasses import replace
from uuid import uuid4

import pytest

from flows.prefect_state.status import Progress
from flows.schemas.control import Control
from tasks.catalog.preview_frames import delete_preview_frame, list_preview_frames, write_preview_frame

JPEG = b"\xff\xd8\xff first"


@pytest.fixture
def rendering(runs):
    run = runs.add(status="running", progress=Progress(40.0, "render", 30, 100, 3))
    return run


def test_the_newest_frame_is_served_with_an_etag(client, rendering):
    write_preview_frame(rendering.id, JPEG)
    answer = client.get(f"/v1/jobs/{rendering.id}/preview")

    assert answer.status_code == 200 and answer.content == JPEG
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "private, no-cache"
    known = {"If-None-Match": answer.headers["etag"]}
    again = client.get(f"/v1/jobs/{rendering.id}/preview", headers=known)
    assert again.status_code == 304 and again.content == b""
    write_preview_frame(rendering.id, JPEG + b"!")
    newer = client.get(f"/v1/jobs/{rendering.id}/preview", headers=known)
    assert newer.status_code == 200 and newer.content == JPEG + b"!"


@pytest.mark.parametrize("status", ["queued", "succeeded", "failed", "canceled"])
def test_only_a_running_job_has_a_frame(client, runs, status):
    run = runs.add(status=status)
    write_preview_frame(run.id, JPEG)  # left behind by a worker that was killed
    answer = client.get(f"/v1/jobs/{run.id}/preview")

    assert (answer.status_code, answer.json()["code"]) == (404, "no_preview")


def test_a_job_without_a_frame_and_an_unknown_job(client, rendering):
    assert client.get(f"/v1/jobs/{rendering.id}/preview").json()["code"] == "no_preview"
    assert client.get(f"/v1/jobs/{uuid4()}/preview").json()["code"] == "not_found"
    delete_preview_frame(rendering.id)


def test_another_tenant_sees_no_frame(issue, client, runs):
    own, other = issue("anna", tenant="anna"), issue("ben", tenant="ben")
    run = runs.add(status="running", control=Control(tenant="anna"))
    write_preview_frame(run.id, JPEG)

    assert client.get(f"/v1/jobs/{run.id}/preview", headers=own).content == JPEG
    refused = client.get(f"/v1/jobs/{run.id}/preview", headers=other)
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert client.get(f"/v1/jobs/{run.id}/preview").status_code == 401


def test_the_number_of_the_frame_is_part_of_the_progress_while_the_job_runs(client, runs, rendering):
    assert client.get(f"/v1/jobs/{rendering.id}").json()["progress"]["preview"] == 3
    runs.jobs[rendering.id] = replace(rendering, status="failed")
    assert client.get(f"/v1/jobs/{rendering.id}").json()["progress"]["preview"] == 0


def test_a_new_frame_is_an_event_even_without_progress(client, runs, rendering, monkeypatch):
    """The job renders no further frame, but a new preview exists: the stream says so once."""
    seen = [4, 4, 5]

    async def step(job_id, limit_s):
        changed = (
            replace(runs.jobs[job_id], progress=Progress(40.0, "encode", 30, 100, seen[0])) if seen else None
        )
        runs.jobs[job_id] = changed or replace(runs.jobs[job_id], status="canceled")
        if seen:
            seen.pop(0)

    monkeypatch.setattr(runs, "wait_for_change", step)
    lines = client.get(f"/v1/jobs/{rendering.id}/events").text.splitlines()
    events = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    ids = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]

    assert events == ["queued", "started", "progress", "progress", "progress", "canceled"]
    assert ids[2:5] == ["1-400-3", "1-400-4", "1-400-5"]
    resumed = client.get(f"/v1/jobs/{rendering.id}/events", headers={"Last-Event-ID": "1-400-5"}).text
    assert [line for line in resumed.splitlines() if line.startswith("event: ")] == ["event: canceled"]


def test_a_frame_in_a_bucket_is_read_as_in_a_fleet(s3_store, connect, runs):
    run = runs.add(status="running")
    client = connect()
    assert client.get(f"/v1/jobs/{run.id}/preview").json()["code"] == "no_preview"
    for jpeg in (JPEG, JPEG + b" second"):
        write_preview_frame(run.id, jpeg)
        assert client.get(f"/v1/jobs/{run.id}/preview").content == jpeg
    assert [one.key for one in list_preview_frames()] == [f"previews/{run.id}.jpg"]
    delete_preview_frame(run.id)
    assert client.get(f"/v1/jobs/{run.id}/preview").status_code == 404
