"""An API that stands beside its workers refuses at once what no model there can do."""

import subprocess
import sys

import pytest

from flows.registry import JOB_TYPES
from flows.schemas.transcribe import TranscribeJob
from tasks.models import transcription_engine

URL = "https://example.org/a.png"


@pytest.fixture
def starter_only(environment, tmp_path):
    """Weights of every installation, and none that were pulled."""
    environment.setenv("MUSETALK_API__MODELS_HERE", "true")
    environment.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    environment.setenv("MUSETALK_WEIGHTS__FOLDER", str(tmp_path / "models"))


@pytest.mark.parametrize(
    ("job_type", "job", "pull"),
    [
        ("speech", {"text": "Hello.", "engine": "csm"}, "csm"),
        (
            "speech",
            {
                "text": "Hello.",
                "voice": "clone",
                "reference_audio": URL,
                "reference_text": "Hello.",
                "consent": True,
            },
            "csm",
        ),
        ("analyze", {"image": URL, "model": "florence-2-base"}, "florence-2-base"),
        ("analyze", {"image": URL, "question": "How many?"}, "smolvlm-256m"),
        ("analyze", {"image": URL, "features": ["objects"]}, "florence-2-base"),
        ("speech", {"text": "Hello.", "voice": "conversational_a"}, "csm"),
        ("transcribe", {"audio": URL, "model": "small"}, "whisper-small"),
        ("lip_sync", {"video": URL, "audio": URL, "engine": "musetalk"}, "musetalk"),
        ("lip_sync", {"video": URL, "audio": URL, "engine": "musetalk", "version": "v1"}, "musetalk-v1"),
        ("portrait", {"image": URL, "text": "Hello.", "engine": "musetalk"}, "musetalk"),
        ("portrait", {"image": URL, "text": "Hello.", "voice": {"engine": "csm"}}, "csm"),
        ("prepare_avatar", {"video": URL, "engine": "musetalk"}, "musetalk"),
        ("persona_sync", {"video": URL, "audio": URL, "engine": "musetalk"}, "musetalk"),
        ("persona_sync", {"video": URL, "audio": URL, "model": "small"}, "whisper-small"),
        (
            "pipeline",
            {"steps": [{"name": "say", "type": "speech", "job": {"text": "Hello.", "engine": "csm"}}]},
            "csm",
        ),
        (
            "batch",
            {"job_type": "speech", "rows": [{"text": "Hello."}, {"text": "Hello.", "engine": "csm"}]},
            "csm",
        ),
        (
            "batch",
            {"job_type": "lip_sync", "manifest": "s3://abc/rows.csv", "defaults": {"engine": "musetalk"}},
            "musetalk",
        ),
    ],
)
def test_refused_before_it_is_queued(starter_only, connect, runs, job_type, job, pull):
    answer = connect().post(f"/v1/jobs/{job_type}", json=job)
    assert (answer.status_code, answer.json()["code"]) == (422, "model_not_installed"), answer.text
    assert f"musetalk weights pull {pull}" in answer.json()["detail"]
    assert not runs.created


@pytest.mark.parametrize(
    ("job_type", "job", "used"),
    [
        ("lip_sync", {"video": URL, "audio": URL, "engine": "musetalk"}, "viseme was used"),
        ("portrait", {"image": URL, "text": "Hello.", "engine": "musetalk"}, "viseme was used"),
        ("prepare_avatar", {"video": URL, "engine": "musetalk"}, "viseme was used"),
        ("persona_sync", {"video": URL, "audio": URL, "engine": "musetalk"}, "viseme was used"),
        ("speech", {"text": "Hello.", "engine": "csm"}, "the starter voice was used"),
        ("speech", {"text": "Hello.", "voice": "conversational_a"}, "the starter voice was used"),
        ("transcribe", {"audio": URL, "model": "small", "language": "en"}, "tiny.en was used"),
        ("analyze", {"image": URL, "model": "qwen3-vl-2b"}, "the best installed model was used"),
    ],
)
def test_a_fallback_is_accepted_with_a_warning(starter_only, connect, runs, job_type, job, used):
    fallback = job | {"fallback": True}
    warnings = JOB_TYPES[job_type].check_models(JOB_TYPES[job_type].job.model_validate(fallback))

    assert connect().post(f"/v1/jobs/{job_type}", json=fallback).status_code == 202
    assert any(text.startswith("model_substituted: ") and used in text for text in warnings), warnings
    assert runs.created


def test_an_engine_of_transcription_without_its_package_is_refused(starter_only, connect, runs, monkeypatch):
    monkeypatch.setattr(transcription_engine, "find_spec", lambda name: None)
    job = {"audio": URL, "language": "en", "engine": "ctranslate2"}

    answer = connect().post("/v1/jobs/transcribe", json=job)
    assert (answer.status_code, answer.json()["code"]) == (422, "model_not_installed"), answer.text
    assert "ctranslate2 requires its package" in answer.json()["detail"] and not runs.created
    answer = connect().post("/v1/jobs/transcribe?dry_run=true", json=job)
    assert (answer.status_code, answer.json()["code"]) == (422, "model_not_installed"), answer.text

    accepted = connect().post("/v1/jobs/transcribe", json=job | {"fallback": True})
    assert accepted.status_code == 202 and runs.created


def test_a_cloned_voice_has_no_substitute(starter_only, connect, runs):
    clone = {"voice": "clone", "reference_audio": URL, "reference_text": "Hello.", "consent": True}
    answer = connect().post("/v1/jobs/speech", json={"text": "Hello.", "fallback": True} | clone)
    assert (answer.status_code, answer.json()["code"]) == (422, "model_not_installed")
    assert not runs.created


def test_a_retry_is_refused_while_the_model_is_still_missing(starter_only, connect, runs):
    job = runs.add(
        type="lip_sync", status="failed", parameters={"video": URL, "audio": URL, "engine": "musetalk"}
    )
    answer = connect().post(f"/v1/jobs/{job.id}/retry")
    assert (answer.status_code, answer.json()["code"]) == (422, "model_not_installed")
    assert not runs.created


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/csm", {"text": "Hello.", "voice": "conversational_a"}),
        ("/whisper", {"audio_url": URL, "model": "medium"}),
        ("/analyze", {"image_url": URL, "model": "smolvlm-256m"}),
    ],
)
def test_compatibility_routes_fall_back_with_a_warning(starter_only, connect, runs, path, body):
    answer = connect().post(path, json=body)
    assert answer.status_code == 200 and runs.created, answer.text
    assert [text for text in answer.json()["warnings"] if text.startswith("model_substituted: ")]


def test_inference_without_the_weights_of_musetalk_warns(starter_only, connect, runs):
    body = {"avatars": {"anna": {"video_path": URL, "audio_clips": {"hello": URL}}}}
    query = {"avatar_id": "anna", "audio_id": "hello"}
    answer = connect().post("/inference", params=query, json=body, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    assert [text for text in answer.json()["warnings"] if "viseme was used" in text]


def test_the_former_name_of_the_field_is_still_accepted():
    assert TranscribeJob.model_validate({"audio": URL, "if_missing": "substitute"}).fallback is True
    assert TranscribeJob.model_validate({"audio": URL, "if_missing": "fail"}).fallback is False
    with pytest.raises(ValueError, match="fallback is the present name"):
        TranscribeJob.model_validate({"audio": URL, "if_missing": "perhaps"})


def test_the_checks_import_no_engine():
    code = """
import sys
from flows.registry import JOB_TYPES
job = JOB_TYPES["lip_sync"].job(video="s3://abc/a.mp4", audio="s3://abc/a.wav")
JOB_TYPES["lip_sync"].check_models(job)
for engine in ("auto", "openai-whisper", "ctranslate2"):
    job = JOB_TYPES["transcribe"].job(audio="s3://abc/a.wav", model="tiny.en", engine=engine)
    JOB_TYPES["transcribe"].check_models(job)
heavy = ("torch", "diffusers", "cv2", "numba", "boto3", "ctranslate2")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("job_type", "job"),
    [("speech", {"text": "Hello."}), ("analyze", {"image": URL, "features": ["ocr", "faces"]})],
)
def test_what_the_starter_models_can_do_is_taken(starter_only, connect, job_type, job):
    assert connect().post(f"/v1/jobs/{job_type}", json=job).status_code == 202


def test_an_api_apart_from_its_workers_takes_it(client):
    assert client.post("/v1/jobs/analyze", json={"image": URL, "model": "florence-2-base"}).status_code == 202
