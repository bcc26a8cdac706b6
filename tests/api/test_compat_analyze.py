"""POST /analyze of the C3 service: its fields, its words, its envelopes, and a job that analyses."""

from dataclasses import replace

import pytest

URL = "https://example.org/desk.jpg"


def test_a_picture_is_queued_in_the_older_services_words(client, runs):
    answer = client.post("/analyze", json={"image_url": URL})

    [(job_type, job, _)] = runs.created
    assert answer.status_code == 200
    assert answer.json() == {"id": str(next(iter(runs.jobs))), "status": "queued"}
    assert (job_type.name, job.image, job.question, job.features) == ("analyze", URL, None, ())


def test_our_own_fields_reach_the_job(client, runs):
    body = {"image_url": URL, "prompt": "Who?", "features": ["ocr"], "length": "long", "model": "starter"}

    assert client.post("/analyze", json=body).status_code == 200

    [(_, job, _)] = runs.created
    assert (job.question, job.features, job.length, job.model) == ("Who?", ("ocr",), "long", "starter")


def test_who_prefers_not_to_wait_is_answered_as_http_has_it(client, runs):
    answer = client.post("/analyze", json={"image_url": URL}, headers={"Prefer": "respond-async"})

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"


def test_what_has_no_effect_is_told(client, runs):
    body = {"image_url": URL, "notify_url": "https://example.org/hook", "max_time": "600", "colour": "red"}

    warnings = client.post("/analyze", json=body).json()["warnings"]

    assert warnings == ["unknown_field: colour"]
    assert (runs.controls[0].max_time, runs.controls[0].complete_in) == (600, 3600)


def test_all_faults_are_told_at_once(client):
    body = {"notify_url": 1, "max_time": "nan", "complete_in": 10**9}

    told = client.post("/analyze", json=body).json()

    assert [fault["pointer"] for fault in told["errors"]] == [
        "#/image_url",
        "#/notify_url",
        "#/max_time",
        "#/complete_in",
    ]


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"features": ["smell"]}, "#/features/0"),
        ({"model": "../../etc/passwd"}, "#/model"),
        ({"length": "endless"}, "#/length"),
        ({"question": ""}, "#/question"),
    ],
)
def test_our_own_fields_are_checked(client, runs, more, pointer):
    answer = client.post("/analyze", json={"image_url": URL} | more)

    assert answer.status_code == 400 and answer.json()["errors"][0]["pointer"] == pointer
    assert not runs.created


def test_the_result_is_a_text_with_what_was_found_and_a_picture(client, runs, finish):
    done = finish(replace(runs.running(), type="analyze"), name="desk_analysed.jpg")
    stored = done.result["video"]
    result = {
        "text": "A desk.",
        "model": "starter",
        "answered": None,
        "ocr": [{"text": "EXIT", "box": [1, 2, 30, 12], "corners": [], "score": 0.9}],
        "faces": None,
        "made_by": {"ocr": "rapidocr"},
        "picture": stored,
        "name": "desk_analysed.jpg",
        "cached": [],
        "timings_s": {},
        "warnings": [],
    }
    runs.jobs[done.id] = replace(done, type="analyze", result=result)

    body = client.get(f"/result/{done.id}").json()

    assert list(body)[:3] == ["id", "status", "text"]
    assert (body["status"], body["text"], body["ocr"][0]["text"]) == ("success", "A desk.", "EXIT")
    assert "faces" not in body and "picture" not in body and "timings_s" not in body
    picture = client.get(body["result_url"])
    assert picture.content == b"0123456789" and picture.headers["content-type"] == "image/jpeg"
