"""New objects in a bucket are rendered once, however often the flow runs; other flows' events start jobs."""

import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from chain_stage import Stage
from moto_s3 import KEYS, moto_s3
from prefect.events.filters import EventFilter, EventNameFilter
from stage import ASSETS, eventually
from test_batches import speeches

from deployments.manifest import load_deployments
from deployments.provisioning.automations import apply_triggers

pytestmark = pytest.mark.stack

BUCKET, RENDERS = "new-media", "new-renders"
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "voice_studio.py"


@pytest.fixture(scope="module")
def s3():
    with moto_s3(BUCKET, RENDERS) as client:
        client.upload_file(str(ASSETS / "astronaut.jpg"), BUCKET, "anna.jpg")
        yield client


@pytest.fixture(scope="module")
def stage(server, s3, tmp_path_factory):
    folder = tmp_path_factory.mktemp("new")
    shutil.copy(ASSETS / "astronaut.jpg", folder / "anna.jpg")
    speeches(folder, 5)
    more = {"MUSETALK_S3__ENDPOINT_URL": s3.meta.endpoint_url, "MUSETALK_S3__FORCE_PATH_STYLE": "true"}
    more["MUSETALK_RENDER__ENGINE"] = "fake"
    stage = Stage(server, folder, **more, **KEYS).start()
    yield stage
    stage.stop()


def task(prefix, name, **more):
    return {
        "name": name,
        "places": {"video": f"s3://{BUCKET}/anna.jpg", "audio": f"s3://{BUCKET}/{prefix}/"},
        "defaults": {"engine": "fake", "output": {"bucket": RENDERS, "prefix": prefix}},
        **more,
    }


def put(stage, s3, prefix, *numbers):
    for number in numbers:
        s3.upload_file(str(stage.folder / f"{number}.wav"), BUCKET, f"{prefix}/{number}.wav")


def made(s3, prefix):
    listed = s3.list_objects_v2(Bucket=RENDERS, Prefix=prefix).get("Contents", [])
    return {one["Key"].rpartition("/")[2] for one in listed if one["Key"].endswith(".mp4")}


def jobs_of(stage, *runs):
    return [part["id"] for run in runs for part in stage.parts(run)]


def test_two_runs_at_a_time_make_nothing_twice_and_later_ones_only_what_is_new(stage, s3):
    put(stage, s3, "over", 0, 1, 2)
    both = [stage.submit("render_new", task("over", "overlap")) for _ in range(2)]
    results = [stage.wait(run)["result"] for run in both]
    assert len(jobs_of(stage, *both)) == 3
    assert sum(result["total"] for result in results) == 3
    assert made(s3, "over") == {"anna_0.mp4", "anna_1.mp4", "anna_2.mp4"}

    put(stage, s3, "over", 3)
    time.sleep(1.1)  # a bucket's times are whole seconds
    third = stage.submit("render_new", task("over", "overlap"))
    result = stage.wait(third)["result"]
    assert (result["total"], result["succeeded"], result["known"]) == (1, 1, 3)
    assert "anna_3.mp4" in made(s3, "over")


def test_a_backfill_takes_what_came_in_its_time(stage, s3):
    put(stage, s3, "fill", 0, 1)
    now = datetime.now(UTC)
    long_ago = task("fill", "fill", since=str(now - timedelta(days=9)), until=str(now - timedelta(days=8)))
    nothing = stage.wait(stage.submit("render_new", long_ago))
    assert nothing["status"] == "succeeded" and nothing["result"]["total"] == 0, nothing
    today = task("fill", "fill", since=str(now - timedelta(days=1)), until=str(now + timedelta(days=1)))
    assert stage.wait(stage.submit("render_new", today))["result"]["succeeded"] == 2


def test_a_notice_of_the_bucket_has_the_task_look_at_once(stage, s3):
    with stage.server.client() as client:
        from prefect.client.schemas.schedules import CronSchedule

        deployment = client.read_deployment_by_name("render_new/Bucket watch")
        client.create_deployment_schedules(deployment.id, [(CronSchedule(cron="0 0 1 1 *"), False)])
        (schedule,) = client.read_deployment_schedules(deployment.id)
        client._client.patch(
            f"/deployments/{deployment.id}/schedules/{schedule.id}",
            json={"parameters": {"job": task("came", "came")}, "active": False},
        ).raise_for_status()
    put(stage, s3, "came", 4)
    record = {
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": BUCKET}, "object": {"key": "came/4.wav"}},
    }
    answer = stage.http.post("/v1/events/s3", json={"Records": [record, record]})
    assert answer.status_code == 202, answer.text
    (started,) = answer.json()["started"]
    assert started["name"] == "came"
    assert stage.wait(started["job"])["result"]["succeeded"] == 1
    assert made(s3, "came") == {"anna_4.mp4"}
    other = record | {"s3": {"bucket": {"name": BUCKET}, "object": {"key": "elsewhere/4.wav"}}}
    assert stage.http.post("/v1/events/s3", json={"Records": [other]}).json()["started"] == []


def test_an_event_of_another_process_starts_a_lip_sync_at_once(stage, s3):
    put(stage, s3, "voice", 0)
    with stage.server.client() as client:
        (lip_sync,) = [item for item in load_deployments() if item.job_type.name == "lip_sync"]
        assert len(apply_triggers(client, lip_sync)) == 1
        assert apply_triggers(client, lip_sync) == []
    time.sleep(1)  # the server reads its automations anew
    subprocess.run(
        [sys.executable, str(EXAMPLE), f"s3://{BUCKET}/anna.jpg", f"s3://{BUCKET}/voice/0.wav", RENDERS],
        env=stage.server.environment,
        cwd=stage.folder,
        timeout=90,
        check=True,
    )

    def chained():
        jobs = stage.http.get("/v1/jobs", params={"type": "lip_sync"}).json()["jobs"]
        return next((job for job in jobs if job["part_of"] is None), None)

    job = eventually(chained, 30)
    sent = EventFilter(event=EventNameFilter(name=["media.ready"]))
    with stage.server.client() as client:
        # automations see an event before the server, which stores events in batches, lists it
        (event,) = eventually(lambda: client.read_events(sent, limit=5).events, 30)
    created = datetime.fromisoformat(job["created_at"])
    # under two seconds on a quiet machine; nothing else would start it
    assert (created - event.occurred).total_seconds() < 8.0
    done = stage.wait(job["id"])
    assert done["status"] == "succeeded", done
    assert (done["result"]["name"], made(s3, "lip_sync")) == ("anna_0.mp4", {"anna_0.mp4"})
