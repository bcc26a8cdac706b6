"""Batches on a real server and real workers: bad rows, deaths, pauses, and doing again what failed."""

import json
import shutil
import time
import wave

import pytest
from chain_stage import Stage
from stage import ASSETS, eventually
from standardwebhooks import Webhook
from webhook_stage import SECRET

pytestmark = pytest.mark.stack


def speeches(folder, count):
    """Short sounds that all differ: a second of the reading each, from another place."""
    with wave.open(str(next(ASSETS.glob("sense*.wav")))) as source:
        settings, sound = source.getparams(), source.readframes(source.getnframes())
    for number in range(count):
        start = number * 2 * 1600
        with wave.open(str(folder / f"{number}.wav"), "wb") as target:
            target.setparams(settings)
            target.writeframes(sound[start : start + 2 * 16000])


def silence(path):
    with wave.open(str(path), "wb") as target:
        target.setparams((1, 2, 16000, 16000, "NONE", None))
        target.writeframes(bytes(2 * 16000))


@pytest.fixture
def stage(own_server, receiver, tmp_path):
    shutil.copy(ASSETS / "astronaut.jpg", tmp_path / "anna.jpg")
    stage = Stage(
        own_server,
        tmp_path,
        MUSETALK_EGRESS__ALLOW_HTTP="true",
        MUSETALK_EGRESS__ALLOWED_HOSTS=receiver.host,
        MUSETALK_WEBHOOK__SECRETS=SECRET,
    )
    yield stage
    stage.stop()


def row(stage, number, **more):
    return {"id": f"n{number}", "audio": f"file://{stage.folder}/{number}.wav", **more}


def batch_of(stage, rows, **more):
    return {
        "job_type": "lip_sync",
        "rows": rows,
        "defaults": {"video": f"file://{stage.folder}/anna.jpg", "engine": "fake"},
        **more,
    }


def table(stage, done):
    (name,) = done["result"]["files"]
    text = stage.http.get(f"/v1/jobs/{done['id']}/files/{name}", follow_redirects=True).text
    return {line["id"]: line for line in map(json.loads, text.splitlines())}


def avatars(stage):
    return {path: path.stat().st_ino for path in (stage.folder / "home").glob("**/avatar/*") if path.is_dir()}


@pytest.mark.slow
@pytest.mark.parametrize(("good", "deaths"), [(5, 1), (27, 2)], ids=["few", "thirty"])
def test_every_good_row_has_one_output_though_workers_and_the_server_die(stage, good, deaths):
    speeches(stage.folder, good)
    (stage.folder / "broken.wav").write_bytes(b"RIFF, it says, and nothing more")
    stage.start(wait=False)
    stage.worker("gpu", wait=False, name="second")
    rows = [row(stage, number) for number in range(good)]
    rows[1:1] = [
        row(stage, "broken"),
        row(stage, "missing"),
        {"id": "typed", "audio": "ftp://x", "colour": 1},
    ]
    batch = stage.submit("batch", batch_of(stage, rows, parallel=3))
    for death in range(deaths):
        eventually(lambda death=death: finished(stage, batch) > death * good // 3, 300)
        for worker in stage.workers.values():
            worker.process.kill()
            worker.process.wait()
        stage.server.kill()
        time.sleep(1)
        stage.server.start()
        for worker in stage.workers.values():
            worker.start(wait=False)

    done = stage.wait(batch, 500)
    assert done["status"] == "succeeded", done
    found = done["result"]
    assert [found[name] for name in ("total", "succeeded", "failed", "invalid")] == [good + 3, good, 2, 1]
    told = table(stage, done)
    assert told["nbroken"]["code"] == "unsupported_media" and told["nmissing"]["code"] == "input_not_found"
    assert {fault["pointer"] for fault in told["typed"]["faults"]} == {"#/audio", "#/colour"}
    outputs = list((stage.folder / "home").glob("**/outputs/*/anna_*.mp4"))
    assert sorted(path.name for path in outputs) == sorted(f"anna_{number}.mp4" for number in range(good))
    assert len(avatars(stage)) == 1
    assert len(stage.parts(batch)) == good + 2


def finished(stage, batch):
    return sum(part["status"] == "succeeded" for part in stage.parts(batch))


def test_a_dry_run_a_pause_one_message_and_doing_again_what_failed(stage, receiver):
    speeches(stage.folder, 4)
    silence(stage.folder / "0.wav")
    stage.start()
    rows = [row(stage, number) for number in range(4)] + [row(stage, "late"), {"id": "bad"}]
    body = batch_of(stage, rows, parallel=1)

    estimate = stage.http.post("/v1/batches", params={"dry_run": "true"}, json=body).json()
    assert (estimate["valid"], estimate["total"], estimate["jobs"]) == (True, 6, 5)
    assert [(bad["id"], bad["faults"][0]["pointer"]) for bad in estimate["bad_rows"]] == [("bad", "#/audio")]
    strict = stage.http.post("/v1/batches", params={"dry_run": "true"}, json=body | {"on_bad_rows": "fail"})
    assert strict.json()["valid"] is False

    notify = {"notify": {"url": receiver.url, "events": ["completed"]}}
    batch = stage.http.post("/v1/batches", json=body | {"control": notify}).json()["id"]
    eventually(lambda: finished(stage, batch) >= 1, 180)
    paused = stage.http.post(f"/v1/batches/{batch}/pause").json()
    assert (paused["paused"], paused["status"]) == (True, "running")
    eventually(lambda: all(part["status"] == "succeeded" for part in stage.parts(batch)), 180)
    begun = len(stage.parts(batch))
    time.sleep(4)
    assert len(stage.parts(batch)) == begun < 5
    assert stage.http.post(f"/v1/batches/{batch}/resume").json()["paused"] is False

    done = stage.wait(batch)
    assert (done["result"]["succeeded"], done["result"]["failed"], done["result"]["invalid"]) == (4, 1, 1)
    assert "silent_sound: row n0: the sound is silent" in " ".join(done["result"]["warnings"])
    assert table(stage, done)["n0"]["warnings"][0].startswith("silent_sound: ")
    eventually(lambda: receiver.got, 60)
    message = Webhook(SECRET).verify(receiver.got[0].body.decode(), receiver.got[0].headers)
    assert (message["type"], message["data"]["id"]) == ("job.completed", batch)
    assert message["data"]["warnings"] == done["result"]["warnings"]
    told = message["data"]["counts"]
    assert [told[name] for name in ("total", "succeeded", "failed", "invalid")] == [6, 4, 1, 1]
    lineage = stage.http.get(f"/v1/jobs/{batch}/lineage").json()["lineage"]
    assert {part["name"]: part["job"] for part in lineage["parts"]} == {
        part["part"]: part["id"] for part in stage.parts(batch)
    }
    assert [file["name"] for file in lineage["outputs"]] == list(done["result"]["files"])
    assert "rows" not in lineage["parameters"]

    shutil.copy(stage.folder / "3.wav", stage.folder / "late.wav")
    again = stage.http.post(f"/v1/batches/{batch}/retry")
    assert again.status_code == 202, again.text
    done = stage.wait(again.json()["id"])
    assert (done["result"]["succeeded"], done["result"]["failed"]) == (5, 0)
    assert [part["part"] for part in stage.parts(done["id"])] == ["nlate"]
    assert len(table(stage, done)) == 6
    told_of = [got.json["data"]["id"] for got in receiver.got]
    assert told_of.count(batch) == 1 and set(told_of) <= {batch, done["id"]}
