"""
Every sentence with which the older services refused a request: text, status, and the field it is about.

The field is where the first entry of `errors` points; POST /portrait has its own form, sentences by field.
"""

import pytest
from compat_documents import BODY, INFERENCE_QUERY

URL = "https://example.org/hello.mp4"
NOBODY = "5f0c6b1e-7b0e-4a63-9a51-0d3f1f2f7f10"
"""Id of a job that there is not."""
TEXT = {"text": "a"}
CLONE = {"text": "a", "voice": "clone", "reference_audio_url": URL, "reference_text": "We met."}
PORTRAIT = {"image_url": URL, "audio_url": URL}

MAX_TIME = "max_time must be an integer between 60 and 7200 seconds"
COMPLETE_IN = "complete_in must be an integer between 60 and 86400 seconds"
NOTIFY = "notify_url must be a valid URL"
NEITHER = "Missing required field: either text or monologue must be provided"
BOTH = "Cannot provide both text and monologue parameters. Use only one."
LIST = "monologue must be an array of strings"
ITEMS = "all items in monologue array must be strings"
BLANK = "monologue array cannot contain empty strings"
VOICE = "Invalid voice option. Must be one of: random, conversational_a, conversational_b, clone"
NO_REFERENCE = "reference_audio_url is required for voice cloning"
NO_WORDS = "reference_text is required for voice cloning"
TEMPERATURE = "temperature must be a float between 0 and 2"
TOPK = "topk must be an integer between 1 and 100"
LENGTH = "max_audio_length must be an integer between 1000 and 30000"
PAUSE = "pause_duration must be an integer between 0 and 500"
MODEL = "Invalid model. Must be one of: tiny, base, small, medium, large, large-v2, large-v3"
TASK = "Invalid task. Must be one of: transcribe, translate"

SHARED = [
    ({"notify_url": "me"}, "notify_url", NOTIFY),
    ({"notify_url": 1}, "notify_url", NOTIFY),
    ({"notify_url": "https://"}, "notify_url", NOTIFY),
    ({"notify_url": "file:///etc/passwd"}, "notify_url", NOTIFY),
    ({"max_time": 59}, "max_time", MAX_TIME),
    ({"max_time": 7201}, "max_time", MAX_TIME),
    ({"max_time": 60.5}, "max_time", MAX_TIME),
    ({"max_time": "nan"}, "max_time", MAX_TIME),
    ({"max_time": None}, "max_time", MAX_TIME),
    ({"complete_in": 59}, "complete_in", COMPLETE_IN),
    ({"complete_in": 86401}, "complete_in", COMPLETE_IN),
    ({"complete_in": 60.5}, "complete_in", COMPLETE_IN),
    ({"complete_in": True}, "complete_in", COMPLETE_IN),
]
"""Faults of the fields that all four have: what is changed, the field, the sentence."""

GOOD = {"/csm": TEXT, "/portrait": PORTRAIT, "/whisper": {"audio_url": URL}, "/analyze": {"image_url": URL}}

OWN = [
    ("/csm", {}, "text", NEITHER),
    ("/csm", [], "text", NEITHER),
    ("/csm", {"text": None, "monologue": None}, "text", NEITHER),
    ("/csm", {"text": "a", "monologue": "b"}, "monologue", BOTH),
    ("/csm", {"text": "a", "monologue": ["b"]}, "monologue", BOTH),
    ("/csm", {"text": 3}, "text", "text must be a string"),
    ("/csm", {"text": ["a"]}, "text", "text must be a string"),
    ("/csm", {"text": " "}, "text", "text cannot be empty"),
    ("/csm", {"text": ""}, "text", "text cannot be empty"),
    ("/csm", {"monologue": {}}, "monologue", LIST),
    ("/csm", {"monologue": 1}, "monologue", LIST),
    ("/csm", {"monologue": []}, "monologue", "monologue array cannot be empty"),
    ("/csm", {"monologue": ["a", 1]}, "monologue", ITEMS),
    ("/csm", {"monologue": ["a", " "]}, "monologue", BLANK),
    ("/csm", {"monologue": ""}, "monologue", "Monologue cannot be empty"),
    ("/csm", TEXT | {"voice": "bob"}, "voice", VOICE),
    ("/csm", TEXT | {"voice": 1}, "voice", VOICE),
    ("/csm", TEXT | {"voice": ["clone"]}, "voice", VOICE),
    ("/csm", TEXT | {"voice": "clone"}, "reference_audio_url", NO_REFERENCE),
    ("/csm", CLONE | {"reference_audio_url": ""}, "reference_audio_url", NO_REFERENCE),
    (
        "/csm",
        CLONE | {"reference_audio_url": "anna.wav"},
        "reference_audio_url",
        "reference_audio_url must be a valid URL",
    ),
    ("/csm", CLONE | {"reference_text": None}, "reference_text", NO_WORDS),
    ("/csm", CLONE | {"reference_text": " "}, "reference_text", "reference_text cannot be empty"),
    ("/csm", TEXT | {"temperature": "nan"}, "temperature", TEMPERATURE),
    ("/csm", TEXT | {"temperature": 2.1}, "temperature", TEMPERATURE),
    ("/csm", TEXT | {"temperature": -0.1}, "temperature", TEMPERATURE),
    ("/csm", TEXT | {"temperature": None}, "temperature", TEMPERATURE),
    ("/csm", TEXT | {"topk": 4.7}, "topk", TOPK),
    ("/csm", TEXT | {"topk": True}, "topk", TOPK),
    ("/csm", TEXT | {"topk": 0}, "topk", TOPK),
    ("/csm", TEXT | {"topk": 101}, "topk", TOPK),
    ("/csm", TEXT | {"max_audio_length": 999}, "max_audio_length", LENGTH),
    ("/csm", TEXT | {"max_audio_length": 30_001}, "max_audio_length", LENGTH),
    ("/csm", TEXT | {"pause_duration": 501}, "pause_duration", PAUSE),
    ("/csm", TEXT | {"pause_duration": -1}, "pause_duration", PAUSE),
    ("/whisper", {}, "audio_url", "Missing required field: audio_url"),
    ("/whisper", [1], "audio_url", "Missing required field: audio_url"),
    ("/whisper", {"audio_url": "hello"}, "audio_url", "audio_url must be a valid URL"),
    ("/whisper", {"audio_url": 7}, "audio_url", "audio_url must be a valid URL"),
    ("/whisper", {"audio_url": URL, "model": "tiny.en"}, "model", MODEL),
    ("/whisper", {"audio_url": URL, "task": "sing"}, "task", TASK),
    ("/whisper", {"audio_url": URL, "language": 7}, "language", "language must be a string"),
    ("/analyze", {}, "image_url", "Missing required field: image_url"),
    ("/analyze", [], "image_url", "Missing required field: image_url"),
    ("/analyze", {"image_url": ""}, "image_url", "Missing required field: image_url"),
    ("/analyze", {"image_url": "desk"}, "image_url", "image_url must be a valid URL"),
    ("/analyze", {"image_url": 7}, "image_url", "image_url must be a valid URL"),
    ("/portrait", {"image_url": URL}, "audio_url", "Missing required field: audio_url"),
    ("/portrait", {"audio_url": URL}, "image_url", "Missing required field: image_url"),
    ("/portrait", PORTRAIT | {"image_url": "a.png"}, "image_url", "Invalid URL format for image_url"),
    ("/portrait", PORTRAIT | {"audio_url": 7}, "audio_url", "Invalid URL format for audio_url"),
]

ROWS = OWN + [(route, good | more, *told) for route, good in GOOD.items() for more, *told in SHARED]


@pytest.mark.parametrize(
    ("route", "body", "field", "text"),
    ROWS,
    ids=lambda value: None if isinstance(value, dict) else str(value),
)
def test_a_job_is_refused_in_the_older_words(client, runs, route, body, field, text):
    answer = client.post(route, json=body)

    told = answer.json()
    assert answer.status_code == 400
    if route == "/portrait":
        place = "timing" if field in {"max_time", "complete_in"} else field
        assert told["errors"] == {place: text}
    else:
        assert told["error"] == text
        assert told["errors"][0]["pointer"] == f"#/{field}" and told["errors"][0]["detail"] == text
    assert not runs.created


def test_an_empty_body_of_a_portrait_has_a_sentence_of_its_own(client):
    answer = client.post("/portrait", json={})

    assert (answer.status_code, answer.json()["error"]) == (400, "Missing request body")


@pytest.mark.parametrize(
    ("query", "change", "text"),
    [
        ({"avatar_id": "zz"}, {}, "Avatar zz not found in configuration"),
        ({"audio_id": "zz"}, {}, "Audio zz not found in avatar avator_1 configuration"),
    ],
)
def test_a_label_that_is_not_there_is_told_in_the_older_words(client, runs, query, change, text):
    answer = client.post("/inference", params=INFERENCE_QUERY | query, json=BODY | change)

    assert (answer.status_code, answer.json()["detail"]) == (400, text)
    assert not runs.created


A_JOB = "JOB"
"""Stands for the id of a job that runs."""

OF_JOBS = [
    ("GET", "/status/17", None, 400, "Invalid job ID format"),
    ("GET", "/result/17", None, 400, "Invalid job ID format"),
    ("POST", "/job/17", {"status": "cancelled"}, 400, "Invalid job ID format"),
    ("GET", f"/status/{NOBODY}", None, 404, "Job not found"),
    ("GET", f"/result/{NOBODY}", None, 404, "Job not found"),
    ("POST", f"/job/{NOBODY}", {"status": "cancelled"}, 404, "Job not found"),
    ("GET", f"/result/{A_JOB}", None, 400, "Job not completed"),
    ("POST", f"/job/{A_JOB}", {}, 400, "Missing status in request body"),
    (
        "POST",
        f"/job/{A_JOB}",
        {"status": "done"},
        400,
        "Invalid status. Must be one of: timed_out, cancelled, failed",
    ),
    ("GET", "/nowhere", None, 404, "Endpoint not found"),
    ("POST", "/api/v1/jobs/whisper", {}, 404, "Endpoint not found"),
    ("PUT", "/csm", {}, 405, "Method not allowed"),
    ("GET", "/inference", None, 405, "Method not allowed"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "text"), OF_JOBS)
def test_what_is_asked_of_a_job_is_refused_in_the_older_words(client, runs, method, path, body, status, text):
    run = runs.running()

    answer = client.request(method, path.replace(A_JOB, str(run.id)), json=body)

    assert (answer.status_code, answer.json()["error"]) == (status, text)
    assert runs.jobs[run.id].status == "running"


@pytest.mark.parametrize("route", GOOD)
def test_upper_case_ids_find_their_job(client, runs, route):
    job = client.post(route, json=GOOD[route]).json()["id"]

    assert client.get(f"/status/{job.upper()}").json()["id"] == job


FORM = {"data": {"audio_url": URL}}
MALFORMED = [
    ("a form", FORM, 415),
    ("another type", {"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415),
    ("broken", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
    ("null", {"content": b"null", "headers": {"Content-Type": "application/json"}}, 400),
    ("a list", {"json": [1]}, 400),
    ("a number", {"json": 1}, 400),
    ("a text", {"json": "{}"}, 400),
    (
        "half a character",
        {"content": b'{"a": "\\ud800"}', "headers": {"Content-Type": "application/json"}},
        400,
    ),
    (
        "half a character, bare",
        {"content": b'{"a": "\xed\xa0\x80"}', "headers": {"Content-Type": "application/json"}},
        400,
    ),
    ("no UTF-8", {"content": b'{"a": "\xff"}', "headers": {"Content-Type": "application/json"}}, 400),
]


@pytest.mark.parametrize("route", [*GOOD, "/inference"])
@pytest.mark.parametrize(("what", "request_", "status"), MALFORMED, ids=[case[0] for case in MALFORMED])
def test_a_body_that_cannot_be_read_is_the_callers_fault(client, runs, route, what, request_, status):
    answer = client.post(route, params=INFERENCE_QUERY, **request_)

    assert (answer.status_code, type(answer.json()["error"])) == (status, str)
    assert not runs.created


SENTENCES = """
text must be a string
text cannot be empty
monologue must be an array of strings
monologue array cannot be empty
monologue array cannot contain empty strings
all items in monologue array must be strings
Missing required field: either text or monologue must be provided
Monologue cannot be empty
Cannot provide both text and monologue parameters. Use only one.
Invalid voice option. Must be one of: random, conversational_a, conversational_b, clone
reference_audio_url is required for voice cloning
reference_audio_url must be a valid URL
reference_text is required for voice cloning
reference_text cannot be empty
temperature must be a float between 0 and 2
topk must be an integer between 1 and 100
max_audio_length must be an integer between 1000 and 30000
pause_duration must be an integer between 0 and 500
Missing required field: audio_url
audio_url must be a valid URL
language must be a string
Invalid model. Must be one of: tiny, base, small, medium, large, large-v2, large-v3
Invalid task. Must be one of: transcribe, translate
notify_url must be a valid URL
max_time must be an integer between 60 and 7200 seconds
complete_in must be an integer between 60 and 86400 seconds
Missing required field: image_url
image_url must be a valid URL
Invalid URL format for image_url
Invalid URL format for audio_url
"""
"""All of the last version; the one before it said `Missing required field: monologue`."""


def test_the_table_has_every_sentence_of_the_descriptions():
    listed = set(SENTENCES.strip().splitlines())

    assert {text for *_, text in ROWS} == listed
