"""Uploads that go to the object store without passing through the API."""

import json
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tasks.inputs.sources import fetch_source, source_path
from tasks.storage.home_store import home_store
from tasks.storage.object_store import read_small

FILE = {"name": "../anna clip.mp4", "size": 10, "content_type": "video/mp4"}


@pytest.fixture
def on_s3(connect, s3_store):
    return connect()


def test_a_client_sends_the_file_to_the_store(on_s3):
    answer = on_s3.post("/v1/assets/direct", json=FILE)
    assert answer.status_code == 201
    made = answer.json()
    assert made["name"] == "anna clip.mp4" and made["uri"] == f"asset://{made['id']}"
    upload = made["upload"]
    assert (upload["method"], upload["headers"]["Content-Length"]) == ("PUT", "10")
    signed = parse_qs(urlsplit(upload["url"]).query)["X-Amz-SignedHeaders"][0].split(";")
    assert {"content-length", "content-type"} <= set(signed)
    sent = httpx.put(upload["url"], content=b"0123456789", headers=upload["headers"])
    assert sent.status_code == 200
    source = fetch_source(made["uri"], kind="video")
    assert (source.size, source.name) == (10, "anna clip.mp4")
    assert source_path(source).read_bytes() == b"0123456789"


def test_a_job_on_what_was_never_sent_is_refused(on_s3):
    uri = on_s3.post("/v1/assets/direct", json=FILE).json()["uri"]
    answer = on_s3.post("/v1/jobs/prepare_avatar?dry_run=true", json={"video": uri})
    assert (answer.status_code, answer.json()["code"]) == (422, "input_not_found")


def test_too_large_is_refused_before_anything_is_sent(s3_store, connect, environment):
    environment.setenv("MUSETALK_API__MAX_UPLOAD_BYTES", "9")
    answer = connect().post("/v1/assets/direct", json=FILE)
    assert (answer.status_code, answer.json()["code"]) == (422, "input_too_large")
    assert list(home_store().list("assets/")) == []


def test_a_folder_takes_none(client):
    answer = client.post("/v1/assets/direct", json=FILE)
    assert (answer.status_code, answer.json()["code"]) == (409, "direct_not_offered")


def test_its_note_is_like_that_of_any_asset(on_s3):
    asset = on_s3.post("/v1/assets/direct", json=FILE).json()["id"]
    about = json.loads(read_small(home_store(), f"assets/{asset}/asset.json"))
    assert about == {"name": "anna clip.mp4", "size": 10, "sha256": None}


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"name": ""}, {"content_type": "video/mp4\r\nX-Evil: 1"}, {"path": "/etc"}]
)
def test_bad_announcements(on_s3, wrong):
    answer = on_s3.post("/v1/assets/direct", json=FILE | wrong)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
