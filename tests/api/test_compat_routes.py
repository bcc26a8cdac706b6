"""The two older services' contracts, case by case."""

import json
import re
import threading
from dataclasses import replace

import pytest
from compat_documents import BODY, INFERENCE_NAME, INFERENCE_QUERY

from api.jobs.model import Job

QUERY = INFERENCE_QUERY
NAME = INFERENCE_NAME


def minimal(**more):
    clip = {"video_path": "https://example.org/a.mp4?sig=1", "audio_clips": {"audio_1": "asset://abc"}}
    return {"avatars": {"avator_1": clip}} | more


def in_s3(run: Job) -> Job:
    video = {"uri": f"s3://project-media/lip_sync/outputs/{NAME}.mp4", "version": "e:1", "size": 77}
    result = {
        "video": video,
        "name": f"{NAME}.mp4",
        "duration_s": 3.2,
        "warnings": ["face lost for 2 frames"],
    }
    return replace(run, status="succeeded", result=result)


def test_the_documented_request_is_answered_with_the_documented_fields(client, runs):
    runs.on_create = in_s3

    answer = client.post("/inference", params=QUERY, json=BODY)

    body = answer.json()
    assert answer.status_code == 200
    assert list(body)[:5] == ["avatar_id", "audio_id", "output_path", "s3_output_path", "message"]
    assert list(body)[5:] == ["id", "status", "result_url", "duration_s", "size_bytes", "warnings"]
    assert body["message"] == "Inference completed successfully"
    assert body["s3_output_path"] == f"s3://project-media/lip_sync/outputs/{NAME}.mp4"
    assert body["output_path"] == body["result_url"]
    assert body["output_path"].startswith(f"http://testserver/v1/downloads/{body['id']}/{NAME}.mp4?expires=")
    assert (body["status"], body["duration_s"], body["size_bytes"]) == ("success", 3.2, 77)
    assert body["warnings"] == [
        "ignored_field: ffmpeg_path",
        "ignored_field: result_dir",
        "ignored_field: skip_save_images",
        "face lost for 2 frames",
    ]


def test_the_body_becomes_a_job(client, runs):
    client.post("/inference", params=QUERY, json=BODY, headers={"Prefer": "respond-async"})

    [(job_type, job, _)] = runs.created
    assert job_type.name == "lip_sync"
    assert job.video == "s3://project-media/lip_sync/inputs/0606446c_avatar_video.mp4"
    assert job.audio == "s3://project-media/lip_sync/inputs/remix_vc_00098415_audio.wav"
    assert (job.fps, job.preparation, job.refresh) == ("25", True, False)
    assert job.output.model_dump() == {
        "bucket": "project-media",
        "prefix": "lip_sync/outputs",
        "name": NAME,
        "overwrite": True,
    }


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"video_path": "/etc/passwd"}, "#/avatars/avator_1/video_path"),
        ({"audio_clips": {"audio_1": "hello.wav"}}, "#/avatars/avator_1/audio_clips/audio_1"),
    ],
)
def test_a_fault_is_told_where_it_stands_in_the_body(client, change, pointer):
    body = minimal()
    body["avatars"]["avator_1"] |= change

    answer = client.post("/inference", params=QUERY, json=body).json()

    assert [fault["pointer"] for fault in answer["errors"]] == [pointer]
    assert answer["detail"].startswith(f"{pointer}: ")


def test_a_bad_bucket_is_told_by_the_name_it_has_in_the_body(client):
    answer = client.post("/inference", params=QUERY, json=minimal(s3_bucket="Not A Bucket")).json()

    assert [fault["pointer"] for fault in answer["errors"]] == ["#/s3_bucket"]


def test_a_minimal_body_is_enough(client, runs):
    answer = client.post("/inference", params=QUERY, json=minimal(), headers={"Prefer": "respond-async"})

    [(_, job, _)] = runs.created
    assert answer.status_code == 202
    assert (job.fps, job.output.name, job.output.bucket) == ("25", None, None)
    assert answer.json()["warnings"] == []


def test_a_job_that_takes_longer_is_answered_with_its_id(client, runs):
    answer = client.post("/inference", params=QUERY, json=BODY, headers={"Prefer": "wait=0"})

    body = answer.json()
    assert answer.status_code == 202
    assert body["id"] in {str(job_id) for job_id in runs.jobs}
    assert body["status"] == "queued" and body["s3_output_path"] is None and body["result_url"] is None
    assert answer.headers["location"] == f"/v1/jobs/{body['id']}"
    assert answer.headers["preference-applied"] == "wait=0"


def test_without_a_bucket_the_result_is_named_by_its_job(client, runs, finish):
    runs.on_create = finish

    body = client.post("/inference", params=QUERY, json=minimal()).json()

    assert body["s3_output_path"] is None and body["warnings"][0].startswith("no_bucket: ")
    assert client.get(body["result_url"]).content == b"0123456789"


@pytest.mark.parametrize("name", ["my.take-1", "my take (1)", "été", "你好"])
def test_a_given_name_is_taken(client, runs, name):
    answer = client.post(
        "/inference", params=QUERY, json=minimal(output_vid_name=name), headers={"Prefer": "wait=0"}
    )

    assert runs.created[0][1].output.name == name
    assert answer.json()["output_path"] is None, "there is no file before the job has ended"


def test_the_older_service_replaced_what_had_the_name(client, connect, runs, environment):
    client.post("/inference", params=QUERY, json=minimal(), headers={"Prefer": "wait=0"})
    assert runs.created[0][1].output.overwrite

    environment.setenv("MUSETALK_COMPAT__INFERENCE_OVERWRITES", "false")
    connect().post("/inference", params=QUERY, json=minimal(), headers={"Prefer": "wait=0"})
    assert not runs.created[1][1].output.overwrite


@pytest.mark.parametrize(
    ("video", "audio", "name"),
    [
        ("s3://b1c/x/a b&c.mp4", "s3://b1c/y/ä.wav", "a b&c_ä"),
        ("s3://b1c/.hidden.mp4", "s3://b1c/b.tar.gz", "hidden_b.tar"),
        ("https://example.org/v.mp4?name=../../x.mp4", "https://example.org/w.wav", "v_w"),
        ("https://example.org/take%201.mp4", "s3://b1c/take%201.wav", "take 1_take%201"),
        ("s3://b1c/a/../v.mp4", "s3://b1c/..", "v_file"),
    ],
)
def test_names_are_those_of_the_inputs(client, runs, video, audio, name):
    body = {"avatars": {"a": {"video_path": video, "audio_clips": {"b": audio}}}}

    client.post(
        "/inference", params={"avatar_id": "a", "audio_id": "b"}, json=body, headers={"Prefer": "wait=0"}
    )

    assert runs.created[0][1].output.name == name


REFUSED = {
    "a path as label": ({"avatar_id": "../x"}, {}, "avatar_id"),
    "a path as name": ({}, {"output_vid_name": "../../escape"}, "output_vid_name"),
    "unknown version": ({}, {"version": "zzz"}, "#/version"),
    "unknown mode": ({}, {"parsing_mode": "bogus"}, "#/parsing_mode"),
    "no fps": ({}, {"fps": 0}, "#/fps"),
    "too much fps": ({}, {"fps": 61}, "#/fps"),
    "negative batch": ({}, {"batch_size": -1}, "#/batch_size"),
    "wide margin": ({}, {"extra_margin": 41}, "#/extra_margin"),
    "wide cheek": ({}, {"left_cheek_width": 161}, "#/left_cheek_width"),
    "long padding": ({}, {"audio_padding_length_right": 11}, "#/audio_padding_length_right"),
    "unknown gpu": ({}, {"gpu_id": -1}, "#/gpu_id"),
    "a prefix that climbs": ({}, {"s3_prefix": "a/../b"}, "s3_prefix"),
    "a model path": (
        {},
        {"unet_model_path": "/etc/passwd"},
        "unet_model_path '/etc/passwd' is not a known model",
    ),
    "no avatars": ({}, {"avatars": None}, "#/avatars"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_a_400_that_says_what(client, runs, case):
    query, change, text = REFUSED[case]

    answer = client.post("/inference", params=QUERY | query, json=BODY | change)

    assert answer.status_code == 400
    assert text in answer.json()["detail"] and isinstance(answer.json()["detail"], str)
    assert not runs.created


def test_a_local_path_is_refused_by_name(client, runs):
    avatar = {"video_path": "/data/a.mp4", "audio_clips": {"audio_1": "s3://b1c/a.wav"}}

    answer = client.post("/inference", params=QUERY, json={"avatars": {"avator_1": avatar}})

    assert (answer.status_code, answer.json()["code"]) == (400, "local_path_disabled")


def created(client, runs, **more):
    """The job that a body makes, and the warnings it is answered with."""
    answer = client.post("/inference", params=QUERY, json=minimal(**more), headers={"Prefer": "wait=0"})
    [(_, job, _)] = runs.created
    return job, answer.json()["warnings"]


def test_v15_takes_margin_mask_cheeks_and_paddings(client, runs):
    job, warnings = created(
        client,
        runs,
        extra_margin=12,
        parsing_mode="neck",
        left_cheek_width=70,
        audio_padding_length_right=3,
        colour="red",
    )

    options = job.musetalk
    assert job.version == "v15"
    assert (options.extra_margin, options.mask_mode, options.left_cheek_width) == (12, "neck", 70)
    assert (options.audio_padding_left, options.audio_padding_right) == (2, 3)
    assert warnings == ["unknown_field: colour"]


def test_v1_takes_the_shift_of_the_avatar_before_that_of_the_body(client, runs):
    avatar = {"video_path": "s3://b1c/a.mp4", "audio_clips": {"audio_1": "s3://b1c/a.wav"}, "bbox_shift": -7}
    job, warnings = created(
        client, runs, version="v1", bbox_shift=5, parsing_mode="jaw", avatars={"avator_1": avatar}
    )

    assert (job.version, job.musetalk.bbox_shift, job.musetalk.mask_mode) == ("v1", -7, None)
    assert warnings == ["ignored_field: parsing_mode"]


def test_v15_knows_no_shift(client, runs):
    job, warnings = created(client, runs, bbox_shift=5)

    assert job.musetalk.bbox_shift is None
    assert warnings == ["ignored_field: bbox_shift"]


def test_a_named_model_is_stronger_than_the_version(client, runs):
    job, warnings = created(client, runs, version="v1", unet_model_path="./models/musetalkV15/unet.pth")

    assert (job.version, warnings) == ("v15", [])


def test_the_documented_model_paths_leave_the_choice_to_the_version(client, runs):
    paths = {"unet_model_path": BODY["unet_model_path"], "unet_config": BODY["unet_config"]}

    assert created(client, runs, version="v15", **paths)[0].version == "v15"


def test_two_models_that_contradict_each_other_are_refused(client, runs):
    body = minimal(unet_model_path="musetalk-v1", unet_config="musetalk-v15")

    answer = client.post("/inference", params=QUERY, json=body)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    assert not runs.created


def test_comments_in_json_are_refused_as_malformed(client):
    text = json.dumps(BODY) + " // the avatars"

    answer = client.post(
        "/inference", params=QUERY, content=text, headers={"Content-Type": "application/json"}
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


@pytest.mark.parametrize(
    ("code", "status"),
    [("no_face", 400), ("input_not_found", 400), ("bucket_not_allowed", 403), ("storage_unavailable", 502)],
)
def test_a_failed_job_is_an_honest_error(client, runs, code, status):
    runs.on_create = lambda run: replace(runs.failed(code, "It went wrong."), id=run.id)

    answer = client.post("/inference", params=QUERY, json=BODY)

    assert (answer.status_code, answer.json()["detail"]) == (status, "It went wrong.")
    assert answer.json()["code"] == code


def test_an_avatar_that_is_not_prepared_is_told_in_the_old_words(client, runs):
    runs.on_create = lambda run: replace(runs.failed("avatar_not_prepared", "x"), id=run.id)

    answer = client.post("/inference", params=QUERY, json=BODY)

    assert answer.status_code == 400
    assert answer.json()["detail"] == "avator_1 does not exist, you should set preparation to True"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html;q=0.5, application/json", ""])
def test_the_root_says_that_it_runs(client, accept):
    answer = client.get("/", headers={"Accept": accept})
    body = answer.json()

    assert body["status"] == "C3 Render API is running" and body["timestamp"].endswith(" UTC")
    assert answer.headers["vary"] == "Accept"


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize("accept", [BROWSER, "text/html", "TEXT/HTML;q=0.9, application/json;q=0.8"])
def test_a_browser_gets_a_page_whose_links_work(client, accept):
    answer = client.get("/", headers={"Accept": accept})

    assert answer.headers["content-type"] == "text/html; charset=utf-8" and "C3" not in answer.text
    links = re.findall(r'<a href="(/[a-z./]*)">', answer.text)
    assert {"/docs", "/openapi.json"} <= set(links)
    assert all(client.get(link).status_code in {200, 503} for link in links)


WORDS = {
    "queued": ("queued", 400, {"error": "Job not completed", "status": "queued"}),
    "scheduled": ("queued", 400, {"error": "Job not completed", "status": "queued"}),
    "running": ("running", 400, {"error": "Job not completed", "status": "running"}),
    "canceled": ("cancelled", 400, {"error": "Job not completed", "status": "cancelled", "final": True}),
}


@pytest.mark.parametrize("status", WORDS)
def test_status_and_result_speak_the_old_words(client, runs, status):
    word, code, members = WORDS[status]
    run = runs.add(status=status)

    shown, result = client.get(f"/status/{run.id}"), client.get(f"/result/{run.id}")

    assert list(shown.json().items())[:2] == [("id", str(run.id)), ("status", word)]
    assert result.status_code == code
    assert result.json() == result.json() | members
    assert ("retry-after" in result.headers) == (status != "canceled")


def test_a_failed_job_is_told_with_its_error(client, runs):
    run = runs.failed("gpu_oom", "Out of memory.", True)

    for path in ("status", "result"):
        answer = client.get(f"/{path}/{run.id}")
        expected = {"status": "failed", "error": "Out of memory.", "code": "gpu_oom", "retryable": True}
        assert answer.status_code == 200
        assert answer.json() == answer.json() | expected


def test_a_finished_job_gives_a_link_that_works(client, finished):
    run = finished()

    body = client.get(f"/result/{run.id}").json()

    assert list(body) == ["id", "status", "result_url"] and body["status"] == "success"
    assert client.get(body["result_url"]).content == b"0123456789"


def test_without_a_preference_the_answer_waits_for_the_end(connect, environment, runs, finish):
    """However long the job takes: nothing of the API's own ends the wait."""
    environment.delenv("MUSETALK_API__INFERENCE_WAIT_S")

    def ends_later(run):
        threading.Timer(6.0, lambda: runs.jobs.update({run.id: finish(run)})).start()
        return run

    runs.on_create = ends_later
    answer = connect().post("/inference", params=QUERY, json=BODY)

    assert answer.status_code == 200 and runs.controls[0].max_time == 7200
    assert {"avatar_id", "audio_id", "output_path", "s3_output_path", "message"} <= answer.json().keys()
