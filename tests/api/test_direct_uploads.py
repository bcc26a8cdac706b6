"""Uploads that go to the object store without passing through the API."""

import hashlib
import json
import random
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tasks.inputs.sources import fetch_source, source_path
from tasks.storage import s3_appends
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


# -- in parts --

MB = 1 << 20


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(s3_appends, "_PART_BYTES", 5 * MB)


def announce(client, size, **headers):
    answer = client.post(
        "/v1/assets/direct/multipart", json={"name": "../anna clip.mp4", "size": size}, headers=headers
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def send(part, data):
    body = data[part["offset"] : part["offset"] + part["size"]]
    answer = httpx.put(part["upload"]["url"], content=body, headers=part["upload"]["headers"])
    assert answer.status_code == 200, answer.text


def test_the_parts_of_a_file_go_to_the_bucket_in_any_order(on_s3, small_parts):
    data = random.Random(4).randbytes(17 * MB + 5)
    made = announce(on_s3, len(data))
    assert (made["name"], made["part_bytes"], made["part_count"]) == ("anna clip.mp4", 5 * MB, 4)

    missing = on_s3.get(made["parts_url"]).json()["parts"]
    assert [(part["number"], part["size"]) for part in missing] == [
        (1, 5 * MB), (2, 5 * MB), (3, 5 * MB), (4, 2 * MB + 5)
    ]  # fmt: skip
    signed = parse_qs(urlsplit(missing[0]["upload"]["url"]).query)["X-Amz-SignedHeaders"][0].split(";")
    assert "content-length" in signed
    for number in (4, 2):
        send(missing[number - 1], data)
    assert on_s3.get(made["url"]).json()["offset"] == 0  # the first part is missing
    assert [part["number"] for part in on_s3.get(made["parts_url"], params={"limit": 1}).json()["parts"]] == [
        1
    ]
    # the page was reloaded: what is missing is asked for again
    for part in on_s3.get(made["parts_url"]).json()["parts"]:
        send(part, data)
    done = on_s3.get(made["url"]).json()
    assert (done["offset"], done["asset"]["uri"]) == (len(data), made["uri"])
    assert on_s3.get(made["parts_url"]).json()["parts"] == []
    source = fetch_source(made["uri"], kind="video")
    assert source.sha256 == hashlib.sha256(data).hexdigest() and source.name == "anna clip.mp4"
    assert list(home_store().pending_uploads()) == []


def test_a_part_of_another_size_counts_as_missing(on_s3, small_parts):
    made = announce(on_s3, 6 * MB)
    parts = on_s3.get(made["parts_url"]).json()["parts"]
    httpx.put(parts[0]["upload"]["url"], content=b"short")  # S3 itself refuses it: the length is signed
    assert [part["number"] for part in on_s3.get(made["parts_url"]).json()["parts"]] == [1, 2]
    assert on_s3.get(made["url"]).json()["offset"] == 0


def test_direct_uploads_have_an_owner_and_end_like_others(s3_store, connect, issue):
    mine, other = issue("a", tenant="acme"), issue("b", tenant="other")
    client = connect()
    made = announce(client, 10, **mine)
    assert client.get(made["parts_url"], headers=other).status_code == 404
    assert client.get(made["parts_url"]).status_code == 401
    tus = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    assert client.patch(made["url"], content=b"0123456789", headers=tus | mine).status_code == 409
    assert client.delete(made["url"], headers=tus | mine).status_code == 204
    assert list(home_store().pending_uploads()) == []
    assert client.get(made["parts_url"], headers=mine).status_code == 404


def test_a_folder_and_other_uploads_have_no_links(client, connect, request):
    answer = client.post("/v1/assets/direct/multipart", json={"name": "a", "size": 3})
    assert (answer.status_code, answer.json()["code"]) == (409, "direct_not_offered")
    request.getfixturevalue("s3_store")
    client = connect()
    url = client.post("/v1/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "3"}).headers[
        "location"
    ]
    answer = client.get(f"{url}/parts")
    assert (answer.status_code, answer.json()["code"]) == (409, "direct_not_offered")


def test_five_gigabytes_in_parts(s3_store, connect, environment):
    environment.setenv("MUSETALK_API__MAX_UPLOAD_BYTES", "200000000000")
    client = connect()
    assert announce(client, 5_000_000_000)["part_count"] == 597
    assert announce(client, 200_000_000_000)["part_count"] == 10_000
    answer = client.post("/v1/assets/direct/multipart", json={"name": "a", "size": 200_000_000_001})
    assert (answer.status_code, answer.json()["code"]) == (413, "input_too_large")


def test_links_name_the_public_endpoint(s3_store, s3_endpoint, small_parts, connect, environment):
    public = s3_endpoint.replace("127.0.0.1", "localhost")  # the same server by another name
    environment.setenv("MUSETALK_S3__PUBLIC_ENDPOINT_URL", public)
    client = connect()
    made = client.post("/v1/assets/direct", json=FILE).json()["upload"]
    assert made["url"].startswith(f"{public}/{s3_store}/")
    assert httpx.put(made["url"], content=b"0123456789", headers=made["headers"]).status_code == 200

    upload = announce(client, 10)
    [part] = client.get(upload["parts_url"]).json()["parts"]
    assert part["upload"]["url"].startswith(f"{public}/{s3_store}/")
    sent = httpx.put(part["upload"]["url"], content=b"0123456789", headers=part["upload"]["headers"])
    assert sent.status_code == 200 and client.get(upload["url"]).json()["asset"]["id"] == upload["id"]
    policy = client.get("/studio").headers["content-security-policy"]
    assert f"connect-src 'self' {public}/{s3_store}/" in policy and s3_endpoint not in policy
