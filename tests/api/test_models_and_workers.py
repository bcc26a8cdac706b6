"""Models and engines that are installed, and the state of workers."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from installation_fakes import FakeWorkers

from api.dependencies import get_worker_store
from api.orchestrator.workers import WorkerProcess, WorkerState, with_report
from flows.schemas.control import Control
from musetalk_core.model_registry.registry import MODELS
from tasks.models import transcription_engine

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def test_models_with_size_licence_and_command(connect, environment, tmp_path):
    environment.setenv("MUSETALK_API__MODELS_HERE", "true")
    weights = tmp_path / "home" / "models" / "musetalkV15"
    weights.mkdir(parents=True)
    (weights / "unet.pth").write_bytes(b"no weights")

    said = connect().get("/v1/models").json()

    assert said["models_here"] is True
    by_name = {model["name"]: model for model in said["models"]}
    assert set(by_name) == set(MODELS)
    voice = by_name["hibari"]
    assert (voice["state"], voice["licence"], voice["bundled"]) == ("installed", "Apache-2.0", True)
    assert voice["bytes"] > 7_900_000 and voice["problem"] is None and voice["groups"] == ["starter"]
    broken = by_name["musetalk-v15"]
    assert broken["state"] == "damaged" and "unet.pth" in broken["problem"]
    assert str(tmp_path) not in str(said)
    assert broken["command"].endswith("musetalk weights pull musetalk") and not broken["bundled"]
    assert (by_name["csm-1b"]["state"], by_name["csm-1b"]["groups"]) == ("missing", ["csm"])
    neural, viseme = said["engines"]
    assert (viseme["name"], viseme["installed"], viseme["default"], viseme["problem"]) == (
        "viseme",
        True,
        True,
        None,
    )
    assert (neural["name"], neural["installed"], neural["default"]) == ("musetalk", False, False)
    assert neural["problem"]


def test_transcription_engines_with_the_models_that_each_has(connect, environment, tmp_path):
    environment.setenv("MUSETALK_API__MODELS_HERE", "true")
    environment.setenv("MUSETALK_MODELS__TRANSCRIPTION", "ctranslate2")
    environment.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    checkpoint = tmp_path / "home" / "models" / "whisper" / "small.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"no weights")

    reference, fast = connect().get("/v1/models").json()["transcription_engines"]
    for models in (reference["converts"], fast["models"]):
        models[:] = [name for name in models if name != "whisper-base"]  # of the extra `multilingual`

    expected = {"installed": True, "problem": None}
    assert reference == expected | {
        "name": "openai-whisper",
        "preferred": False,
        "models": ["whisper-small"],
        "converts": ["whisper-tiny.en"],
    }
    assert fast == expected | {
        "name": "ctranslate2",
        "preferred": True,
        "models": ["whisper-tiny.en"],
        "converts": ["whisper-small"],
    }


def test_a_transcription_engine_without_its_package_has_no_models(connect, environment, monkeypatch):
    environment.setenv("MUSETALK_API__MODELS_HERE", "true")
    find_spec = transcription_engine.find_spec
    monkeypatch.setattr(
        transcription_engine, "find_spec", lambda name: None if name == "ctranslate2" else find_spec(name)
    )

    reference, fast = connect().get("/v1/models").json()["transcription_engines"]

    assert reference["installed"] and "whisper-tiny.en" in reference["converts"]
    assert (fast["installed"], fast["models"], fast["converts"]) == (False, [], [])
    assert "ctranslate2 requires its package" in fast["problem"]


def test_models_of_other_computers_are_not_known(client):
    said = client.get("/v1/models").json()
    assert said["models_here"] is False
    assert {model["state"] for model in said["models"]} == {None}
    assert {engine["installed"] for engine in said["engines"]} == {None}
    assert {engine["models"] for engine in said["transcription_engines"]} == {None}
    assert all(model["command"] and model["licence"] for model in said["models"])


def busy(job, models=("whisper-tiny",)):
    return WorkerProcess(0, "cpu", "busy" if job else "idle", job, models, 400_000_000, 0, 3, 1)


@pytest.fixture
def on_workers(connect):
    def make(*states):
        client = connect()
        client.app.dependency_overrides[get_worker_store] = lambda: FakeWorkers(*states)
        return client

    return make


def test_workers_with_state_models_memory_and_job(on_workers, runs):
    job = runs.running().id
    client = on_workers(
        WorkerState("a", "gpu", True, NOW, NOW, (busy(job), busy(None))),
        WorkerState("b", "light", False, None),
    )
    first, second = client.get("/v1/workers").json()["workers"]
    assert (first["name"], first["pool"], first["online"]) == ("a", "gpu", True)
    assert first["processes"][0] == {
        "number": 0,
        "gpu": "cpu",
        "state": "busy",
        "job": str(job),
        "models": ["whisper-tiny"],
        "rss_bytes": 400_000_000,
        "device_bytes": 0,
        "runs": 3,
        "restarts": 1,
    }
    assert first["processes"][1]["job"] is None
    assert (second["online"], second["heartbeat_at"], second["processes"]) == (False, None, [])


def test_a_tenant_does_not_see_which_job_of_another_runs(on_workers, runs, issue):
    mine, theirs, unknown = (
        runs.add(status="running", control=Control(tenant="acme")).id,
        runs.add(status="running", control=Control(tenant="other")).id,
        uuid4(),  # a maintenance task
    )
    states = [busy(mine), busy(theirs), busy(unknown)]
    key = issue("a", tenant="acme", scopes=["read"])
    client = on_workers(WorkerState("a", "gpu", True, NOW, NOW, tuple(states)))

    (worker,) = client.get("/v1/workers", headers=key).json()["workers"]
    assert [process["job"] for process in worker["processes"]] == [str(mine), None, None]
    assert client.get("/v1/workers").status_code == client.get("/v1/models").status_code == 401


def test_the_report_of_a_worker():
    child = {
        "child": 1,
        "gpu": "0",
        "process": 17,
        "state": "idle",
        "flow_run": None,
        "models": ["a"],
        "rss_bytes": 5,
        "device_bytes": 6,
        "runs": 7,
        "restarts": 8,
    }
    event = {"occurred": NOW.isoformat(), "payload": {"children": [child]}}
    online = WorkerState("a", "gpu", True, NOW)
    assert with_report(online, event).processes == (WorkerProcess(1, "0", "idle", None, ("a",), 5, 6, 7, 8),)
