"""POST /csm and POST /portrait of the older C3 service, field by field."""

import pytest

from flows.schemas.control import Notify

CLONE = {
    "text": "Hello.",
    "voice": "clone",
    "reference_audio_url": "https://example.org/anna.wav",
    "reference_text": "We met.",
}
PORTRAIT = {"image_url": "https://example.org/a.png", "audio_url": "https://example.org/a.mp4"}


@pytest.mark.parametrize("text", [{"text": "Hello."}, {"monologue": "Hello."}, {"monologue": ["Hello."]}])
def test_a_text_is_queued_with_the_documented_defaults(client, runs, text):
    answer = client.post("/csm", json=text)

    [(job_type, job, _)] = runs.created
    assert (answer.status_code, list(answer.json())) == (200, ["id", "status"])
    assert answer.json()["status"] == "queued"
    assert (job_type.name, job.parts) == ("speech", ["Hello."])
    assert (job.voice, job.temperature, job.topk) == ("random", 0.9, 50)
    assert (job.max_audio_length, job.pause_duration, job.engine, job.format) == (10_000, 150, "auto", None)


def test_numbers_as_text_and_the_old_name_of_a_voice_are_taken(client, runs):
    body = {"text": "a", "voice": "random_voice", "temperature": "0.5", "topk": "7"}
    client.post("/csm", json=body | {"max_audio_length": "2000", "pause_duration": 0})

    [(_, job, _)] = runs.created
    assert (job.voice, job.temperature, job.topk) == ("random", 0.5, 7)
    assert (job.max_audio_length, job.pause_duration) == (2000, 0)


def test_a_voice_is_cloned_and_consent_is_said_to_be_assumed(client, runs):
    answer = client.post("/csm", json=CLONE)

    [(_, job, _)] = runs.created
    assert (job.voice, job.reference_audio, job.reference_text, job.consent) == (
        "clone",
        "https://example.org/anna.wav",
        "We met.",
        True,
    )
    assert answer.json()["warnings"][0].startswith("consent_assumed")


def test_it_may_be_answered_as_http_has_it(client):
    assert client.post("/csm", json={"text": "a"}, headers={"Prefer": "respond-async"}).status_code == 202


def test_several_faults_are_told_at_once(client):
    body = client.post("/csm", json={"text": "", "topk": 0, "temperature": -1}).json()

    assert {fault["pointer"] for fault in body["errors"]} == {"#/text", "#/topk", "#/temperature"}


def test_a_portrait_is_queued(client, runs):
    answer = client.post("/portrait", json=PORTRAIT | {"notify_url": "https://example.org/hook", "style": 1})

    [(job_type, job, _)] = runs.created
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    assert (job_type.name, job.image, job.audio) == ("portrait", *PORTRAIT.values())
    assert answer.json()["warnings"] == ["unknown_field: style"]
    assert runs.controls[-1].notify == Notify(url="https://example.org/hook", signed_links=True)


@pytest.mark.parametrize(("route", "body"), [("/csm", {"text": "Hello."}), ("/portrait", PORTRAIT)])
def test_limits_of_time_reach_the_job(client, runs, route, body):
    answer = client.post(route, json=body | {"max_time": 60})

    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    assert [(control.max_time, control.complete_in) for control in runs.controls] == [(60, 3600)]
