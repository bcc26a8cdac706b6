"""Pipelines on a real server and real workers: steps, sharing, failure, retry, sleep, stop."""

import shutil

import pytest
from chain_stage import Stage
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId
from prefect.states import Cancelling
from stage import ASSETS, eventually

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stage(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chains")
    shutil.copy(ASSETS / "astronaut.jpg", folder / "anna.jpg")
    shutil.copy(next(ASSETS.glob("sense*.wav")), folder / "hello.wav")
    stage = Stage(server, folder).start()
    yield stage
    stage.stop()


def step(name, kind, **job):
    return {"name": name, "type": kind, "job": job}


def talk(stage, name, audio, **more):
    fields = {"video": f"file://{stage.folder}/anna.jpg", "audio": audio, "engine": "fake", **more}
    return step(name, "lip_sync", **fields)


def task_states(stage, run):
    with stage.server.client() as client:
        runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
    return {run.name: run.state_name for run in runs}


def test_each_step_takes_in_what_others_made_and_the_last_stands_for_all(stage):
    job = stage.submit(
        "pipeline",
        {
            "steps": [
                step("speak", "speech", text="Good morning to all of you."),
                talk(stage, "talk", "job://speak"),
                step("words", "transcribe", audio="job://talk", language="en"),
                step("shown", "caption", video="job://talk", captions="job://words/srt"),
            ]
        },
    )
    done = stage.wait(job)
    assert done["status"] == "succeeded", done
    steps = done["result"]["steps"]
    assert list(steps) == ["speak", "talk", "words", "shown"]
    assert done["result"]["video"] and done["result"]["name"] == steps["shown"]["name"]
    content = stage.http.get(f"/v1/jobs/{job}/result", follow_redirects=True).content
    assert b"ftyp" in content[:16]
    parts = stage.parts(job)
    assert {(part["type"], part["part"]) for part in parts} == {
        ("speech", "speak"),
        ("lip_sync", "talk"),
        ("transcribe", "words"),
        ("caption", "shown"),
    }
    assert all(part["part_of"] == job for part in parts)
    text = stage.job(steps["words"]["job"])["result"]["text"]
    assert "good morning" in text.lower()

    with stage.server.client() as client:
        run = client.read_flow_run(steps["talk"]["job"])
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])), limit=200)
    assert run.name.startswith("lip_sync: talk, anna.jpg, result of ") and "job" in run.tags
    ends = [line.message for line in logs if line.message.startswith("Finished in state Completed")]
    assert len(ends) == 1, "the end of the job is logged once, not that of each of its steps"

    found = stage.http.get(f"/v1/jobs/{job}/lineage", params={"depth": 1}).json()
    told = found["lineage"]
    assert [(part["name"], part["type"]) for part in told["parts"]] == [
        (name, one["type"]) for name, one in steps.items()
    ]
    assert [(file["name"], file["fields"]) for file in told["inputs"]] == [("anna.jpg", ["talk.video"])]
    own = next(one["lineage"] for one in found["ancestors"] if one["job"] == steps["shown"]["job"])
    assert told["outputs"] == own["outputs"] != []
    assert {one["job"] for one in found["ancestors"]} == {one["job"] for one in steps.values()}
    assert [one["name"] for one in told["parameters"]["steps"]] == list(steps)


def test_a_diamond_and_equal_steps_are_done_once(stage):
    job = stage.submit(
        "pipeline",
        {
            "steps": [
                step("speak", "speech", text="One and the same."),
                step("also", "speech", text="One and the same."),
                talk(stage, "left", "job://speak"),
                talk(stage, "right", "job://also", no_face="hold"),
                step("words", "transcribe", audio="job://left"),
            ]
        },
    )
    done = stage.wait(job)
    assert done["status"] == "succeeded", done
    steps = done["result"]["steps"]
    assert steps["speak"]["job"] == steps["also"]["job"] and steps["left"]["job"] != steps["right"]["job"]
    assert len(stage.parts(job)) == 4


def test_a_third_step_fails_is_mended_and_the_retry_takes_the_others_from_the_cache(stage):
    late = stage.folder / "late.srt"
    job = stage.submit(
        "pipeline",
        {
            "steps": [
                step("speak", "speech", text="The captions come late."),
                talk(stage, "talk", "job://speak"),
                step("shown", "caption", video="job://talk", captions=f"file://{late}"),
                step("after", "transcribe", audio="job://shown"),
            ]
        },
    )
    failed = stage.wait(job)
    assert failed["status"] == "failed" and failed["error"]["code"] == "step_failed"
    assert "shown" in failed["error"]["message"] and "after" in failed["error"]["message"]
    assert [part["status"] for part in stage.parts(job)].count("succeeded") == 2  # kept

    late.write_text("1\n00:00:00,000 --> 00:00:01,000\nLate\n")
    answer = stage.http.post(f"/v1/jobs/{job}/retry")
    assert answer.status_code == 202, answer.text
    again = answer.json()["id"]
    done = stage.wait(again)
    assert done["status"] == "succeeded", done
    states = task_states(stage, again)
    assert (states["speak"], states["talk"]) == ("Cached", "Cached")
    assert states["shown"] == "Completed"
    steps = done["result"]["steps"]
    assert [steps[name]["reused"] for name in ("speak", "talk", "shown")] == [True, True, False]
    assert {part["part"] for part in stage.parts(again)} == {"shown", "after"}


def unfinished(stage, job):
    return [part for part in stage.parts(job) if part["status"] in {"queued", "running"}]


def tidy(client):
    """Ask for a place in the light pool: the janitor only looks."""
    deployment = client.read_deployment_by_name("janitor/Housekeeping: maintenance")
    return client.create_flow_run_from_deployment(deployment.id, parameters={"job": {"dry_run": True}}).id


def test_who_waits_leaves_the_place_to_others_and_goes_on_or_is_cancelled_in_its_sleep(stage):
    """The light pool has one place: two pipelines and the housekeeping share it."""
    slow = step(
        "talk", "lip_sync", video=f"file://{stage.folder}/anna.jpg", audio="job://speak", engine="viseme"
    )
    jobs = [
        stage.submit("pipeline", {"steps": [step("speak", "speech", text=f"Number {n}. " * n), slow]})
        for n in (12, 300)
    ]
    with stage.server.client() as client:
        run = tidy(client)
        eventually(lambda: client.read_flow_run(run).state.is_completed(), 90)
    seen = {stage.job(job)["status"] for job in jobs}
    assert seen == {"running"}, seen
    assert {
        job["id"] for job in stage.http.get("/v1/jobs", params={"status": "running"}).json()["jobs"]
    } >= set(jobs)
    left, long = jobs
    eventually(lambda: [part for part in unfinished(stage, long) if part["part"] == "talk"], 180)
    with stage.server.client() as client:
        tidy(client)  # the other pipeline may have ended by now, and no other run is waiting for the slot
        eventually(lambda: client.read_flow_run(long).state.name == "Waiting", 90)
        client.set_flow_run_state(long, Cancelling())  # as Prefect's page does
    assert stage.wait(long, 30)["status"] == "canceled"
    eventually(lambda: not unfinished(stage, long), 90)
    assert {part["part"]: part["status"] for part in stage.parts(long)}["talk"] == "canceled"
    assert stage.wait(left)["status"] == "succeeded"


def test_stopping_a_pipeline_stops_its_steps(stage):
    slow = step(
        "talk", "lip_sync", video=f"file://{stage.folder}/anna.jpg", audio="job://speak", engine="viseme"
    )
    job = stage.submit("pipeline", {"steps": [step("speak", "speech", text="Stop me soon. " * 60), slow]})
    eventually(lambda: [part for part in stage.parts(job) if part["status"] == "running"], 180)
    assert stage.http.delete(f"/v1/jobs/{job}").status_code == 200
    ended = stage.wait(job, 15)
    assert ended["status"] == "canceled"
    eventually(lambda: {part["status"] for part in stage.parts(job)} <= {"canceled", "succeeded"}, 10)
    assert "canceled" in {part["status"] for part in stage.parts(job)}


@pytest.mark.slow
def test_retry_on_prefects_page_tries_what_failed_again(stage):
    from prefect.states import AwaitingRetry

    late = stage.folder / "later.srt"
    steps = [
        step("speak", "speech", text="Try this again."),
        talk(stage, "talk", "job://speak"),
        step("shown", "caption", video="job://talk", captions=f"file://{late}"),
    ]
    job = stage.submit("pipeline", {"steps": steps})
    assert stage.wait(job)["status"] == "failed"
    late.write_text("1\n00:00:00,000 --> 00:00:01,000\nLater\n")
    with stage.server.client() as client:
        client.set_flow_run_state(job, AwaitingRetry(), force=True)
    eventually(lambda: stage.job(job)["status"] == "succeeded", 180)
    tried = [part["status"] for part in stage.parts(job) if part["part"] == "shown"]
    assert sorted(tried) == ["failed", "succeeded"]


@pytest.mark.slow
def test_a_pipeline_that_has_had_its_time_is_stopped_with_its_steps(stage):
    slow = talk(stage, "talk", "job://speak", engine="viseme")
    body = {
        "steps": [step("speak", "speech", text="There is no time. " * 400), slow],
        "control": {"max_time": 8},
    }
    job = stage.submit("pipeline", body)
    ended = stage.wait(job, 60)
    assert ended["status"] != "succeeded" and ended["error"]["code"] == "deadline_exceeded", ended
    eventually(lambda: not unfinished(stage, job), 180)
    assert "canceled" in {part["status"] for part in stage.parts(job)}


@pytest.mark.parametrize("captions", ["burned", pytest.param("sidecar", marks=pytest.mark.slow)])
def test_a_persona_is_named_after_its_clips_and_so_are_its_captions(stage, captions):
    body = {
        "video": f"file://{stage.folder}/anna.jpg",
        "audio": f"file://{stage.folder}/hello.wav",
        "engine": "fake",
        "captions": captions,
    }
    answer = stage.http.post("/v1/pipelines/persona_sync", json=body)
    assert answer.status_code == 202, answer.text
    done = stage.wait(answer.json()["id"])
    assert done["status"] == "succeeded", done
    steps = done["result"]["steps"]
    assert done["result"]["name"] == "anna_hello.mp4"
    assert set(steps["transcript"]["files"]) >= {"anna_hello.srt", "anna_hello.vtt", "anna_hello.txt"}
    assert ("captioned" in steps) is (captions == "burned")
    told = stage.http.get(f"/v1/pipelines/{done['id']}").json()["steps"]
    assert set(told) == set(steps) and {job["status"] for job in told.values()} == {"succeeded"}
