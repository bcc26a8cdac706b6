"""An API that stands beside its workers refuses at once what no model there can do."""

import pytest

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
    ],
)
def test_refused_before_it_is_queued(starter_only, connect, runs, job_type, job, pull):
    answer = connect().post(f"/v1/jobs/{job_type}", json=job)
    assert (answer.status_code, answer.json()["code"]) == (422, "model_not_installed"), answer.text
    assert f"musetalk weights pull {pull}" in answer.json()["detail"]
    assert not runs.created


@pytest.mark.parametrize(
    ("job_type", "job"),
    [("speech", {"text": "Hello."}), ("analyze", {"image": URL, "features": ["ocr", "faces"]})],
)
def test_what_the_starter_models_can_do_is_taken(starter_only, connect, job_type, job):
    assert connect().post(f"/v1/jobs/{job_type}", json=job).status_code == 202


def test_an_api_apart_from_its_workers_takes_it(client):
    assert client.post("/v1/jobs/analyze", json={"image": URL, "model": "florence-2-base"}).status_code == 202
