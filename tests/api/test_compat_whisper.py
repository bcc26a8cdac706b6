"""POST /whisper, and what /result says of a transcription, in the older service's words."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from api.jobs.model import Job
from musetalk_core.errors import ModelNotInstalled
from musetalk_core.model_registry.registry import MODELS
from tasks.storage.object_store import ObjectInfo

URL = "https://example.org/hello.mp4"


def test_a_job_is_queued_and_answered_with_the_documented_fields(client, runs):
    answer = client.post("/whisper", json={"audio_url": URL})

    [(job_type, job, _)] = runs.created
    assert (answer.status_code, list(answer.json())) == (200, ["id", "status"])
    assert answer.json()["status"] == "queued"
    assert (job_type.name, job.audio) == ("transcribe", URL)
    assert (job.model, job.fallback, job.task, job.language) == (None, True, "transcribe", "")


def test_all_fields_are_passed_on_and_what_has_no_effect_is_told(client, runs):
    body = {
        "audio_url": "S3://media/a.wav",
        "model": "large-v2",
        "task": "translate",
        "language": "german",
        "notify_url": "https://example.org/hook",
        "max_time": "600",
        "colour": "red",
    }

    answer = client.post("/whisper", json=body, headers={"Prefer": "respond-async"})

    [(_, job, _)] = runs.created
    assert answer.status_code == 202
    assert answer.json()["warnings"] == [
        "unknown_field: colour",
    ]
    assert (job.audio, job.model, job.task) == ("s3://media/a.wav", "large-v2", "translate")
    assert job.language == "german"


def test_all_faults_are_told_at_once(client):
    answer = client.post("/whisper", json={"max_time": 1, "task": "sing"}).json()

    assert answer["error"] == "Missing required field: audio_url"
    assert [fault["pointer"] for fault in answer["errors"]] == ["#/audio_url", "#/task", "#/max_time"]


@pytest.mark.parametrize("scheme", ["gopher", "ftp", "data"])
def test_other_schemes_are_refused(client, runs, scheme):
    answer = client.post("/whisper", json={"audio_url": f"{scheme}://host/a.wav"})

    assert answer.status_code == 400 and "is not a supported scheme" in answer.json()["error"]
    assert not runs.created


def transcribed(run: Job, stored: Mapping[str, ObjectInfo] | None = None) -> Job:
    files = {
        f"hello.{ending}": {"uri": one.uri, "version": one.version, "size": one.size}
        if (one := (stored or {}).get(ending))
        else {"uri": f"s3://media/hello.{ending}", "version": "e:1", "size": 7}
        for ending in ("txt", "json")
    }
    result = {
        "text": "Hello.\nGood morning.",
        "segments": [{"start": 0.0, "end": 1.0, "text": "Hello."}],
        "language": "en",
        "model": "tiny.en",
        "warnings": ["model_substituted: medium is not installed; tiny.en was used"],
        "name": "hello.txt",
        "files": files,
        "cached": [],
        "timings_s": {},
    }
    return replace(run, type="transcribe", status="succeeded", result=result)


def test_the_text_is_the_result(client, runs):
    run = runs.running()
    runs.jobs[run.id] = transcribed(run)

    body = client.get(f"/result/{run.id}").json()

    assert list(body)[:3] == ["id", "status", "text"]
    assert (body["status"], body["text"], body["language"]) == ("success", "Hello.\nGood morning.", "en")
    assert body["segments"] == [{"start": 0.0, "end": 1.0, "text": "Hello."}]
    assert body["warnings"][0].startswith("model_substituted")
    assert list(body["files"]) == ["hello.txt", "hello.json"] and "result_url" not in body


def test_every_file_of_a_transcript_can_be_fetched(client, runs, tmp_path):
    from tasks.storage.home_store import home_store

    run, made = runs.running(), {}
    for ending in ("txt", "json"):
        (tmp_path / ending).write_text(f"as {ending}")
        made[ending] = home_store().upload(tmp_path / ending, f"outputs/x/hello.{ending}")
    runs.jobs[run.id] = transcribed(run, made)

    links = client.get(f"/result/{run.id}").json()["files"]
    job = client.get(f"/v1/jobs/{run.id}").json()

    assert [client.get(link).text for link in links.values()] == ["as txt", "as json"]
    assert client.get(links["hello.txt"]).headers["content-type"] == "text/plain; charset=utf-8"
    assert job["result"]["files"]["hello.json"]["uri"] == f"job://{run.id}/hello.json"
    assert client.get(job["result_url"]).text == "as txt"
    assert client.get(f"/v1/jobs/{run.id}/files/other.txt").status_code == 404


@pytest.fixture
def starter_only(environment, tmp_path):
    """The API of a computer whose workers have its models: those of every installation."""
    environment.setenv("MUSETALK_API__MODELS_HERE", "true")
    environment.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    environment.delitem(MODELS, "whisper-base")


@pytest.mark.parametrize("more", [{"model": "medium"}, {"task": "translate"}, {"language": "de"}])
def test_v1_refuses_at_once_what_no_model_here_can_do(starter_only, connect, runs, more):
    answer = connect().post("/v1/jobs/transcribe", json={"audio": URL} | more)

    assert (answer.status_code, answer.json()["code"]) == (422, "model_not_installed")
    assert "musetalk weights pull whisper-" in answer.json()["detail"]
    assert not runs.created


def test_the_older_route_lets_another_model_stand_in(starter_only, connect, runs):
    client = connect()

    assert client.post("/whisper", json={"audio_url": URL, "model": "medium"}).status_code == 200
    refused = client.post("/whisper", json={"audio_url": URL, "task": "translate"})

    assert (refused.status_code, refused.json()["code"]) == (400, "model_not_installed")
    assert len(runs.created) == 1


def test_an_api_apart_from_its_workers_lets_them_decide(client, runs):
    assert client.post("/v1/jobs/transcribe", json={"audio": URL, "model": "large"}).status_code == 202


def test_the_check_loads_no_model_library(starter_only):
    import subprocess
    import sys

    code = """
import sys
from flows.registry import JOB_TYPES
from flows.schemas.transcribe import TranscribeJob
JOB_TYPES["transcribe"].check_models(TranscribeJob(audio="s3://abc/a.wav", language="English"))
print([name for name in ("torch", "whisper", "cv2", "numba", "boto3") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
    assert ModelNotInstalled.code == "model_not_installed"


def test_limits_of_time_reach_the_job(client, runs):
    client.post(
        "/whisper", json={"audio_url": "https://media.test/a.wav", "max_time": 60, "complete_in": "90"}
    )
    client.post("/whisper", json={"audio_url": "https://media.test/a.wav"})
    assert [(control.max_time, control.complete_in) for control in runs.controls] == [(60, 90), (1200, 3600)]


@pytest.mark.parametrize("language", ["xx-yy", "xx", "klingon", "en-US"])
def test_an_unknown_language_is_told_as_such(connect, environment, runs, language):
    environment.setenv("MUSETALK_API__MODELS_HERE", "true")

    answer = connect().post("/whisper", json={"audio_url": "https://example.org/a.wav", "language": language})

    told = answer.json()
    assert (answer.status_code, told["code"]) == (400, "invalid_input") and not runs.created
    assert told["errors"][0]["pointer"] == "#/language" and language in told["error"]


def test_the_languages_are_those_of_whisper():
    from whisper.tokenizer import LANGUAGES as CODES
    from whisper.tokenizer import TO_LANGUAGE_CODE

    from flows.schemas.whisper_languages import LANGUAGES

    assert {*CODES, *CODES.values(), *TO_LANGUAGE_CODE} == LANGUAGES
