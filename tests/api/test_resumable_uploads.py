"""Resumable uploads: the tus protocol request by request, in a folder store and in a bucket."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import SimpleNamespace

import pytest

from tasks.catalog import resumable_uploads
from tasks.catalog.assets import asset_key
from tasks.inputs.sources import fetch_source, source_path
from tasks.storage import folder_appends, s3_appends
from tasks.storage.home_store import home_store, store_is_remote
from tasks.storage.object_store import read_small

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}


@pytest.fixture(params=["folder", "bucket"])
def any_client(request, environment):
    """A client of an API whose store is a folder, then one whose store is a bucket."""
    if request.param == "bucket":
        request.getfixturevalue("s3_store")
    return request.getfixturevalue("connect")()


def b64(text):
    return base64.b64encode(text.encode()).decode()


def create(client, size, name="anna.mp4", **headers):
    answer = client.post(
        "/v1/uploads",
        headers={**TUS, "Upload-Length": str(size), "Upload-Metadata": f"filename {b64(name)}"} | headers,
    )
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def patch(client, url, offset, data, **headers):
    return client.patch(url, content=data, headers={**BYTES, "Upload-Offset": str(offset)} | headers)


def refused(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return True


def offset_of(client, url, **headers):
    answer = client.head(url, headers=TUS | headers)
    assert answer.status_code == 200
    return int(answer.headers["upload-offset"])


def note_of(asset):
    return json.loads(read_small(home_store(), f"assets/{asset}/asset.json"))


def test_parts_become_an_asset_like_any_other(any_client):
    url = create(any_client, 11, "../Änna clip.mp4")
    upload = url.rpartition("/")[2]
    assert url == f"/v1/uploads/{upload}"
    assert offset_of(any_client, url) == 0

    first = patch(any_client, url, 0, b"hello ")
    assert (first.status_code, first.headers["upload-offset"]) == (204, "6")
    assert first.headers["tus-resumable"] == "1.0.0" and "upload-asset" not in first.headers
    expires = parsedate_to_datetime(first.headers["upload-expires"])
    assert timedelta(hours=23) < expires - datetime.now(UTC) <= timedelta(hours=24)
    asked = any_client.get(url).json()
    assert (asked["size"], asked["offset"], asked["asset"]) == (11, 6, None)

    last = patch(any_client, url, 6, b"world")
    assert (last.status_code, last.headers["upload-offset"]) == (204, "11")
    assert last.headers["upload-asset"] == f"asset://{upload}" and "upload-expires" not in last.headers

    head = any_client.head(url, headers=TUS)
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("11", "11")
    assert head.headers["cache-control"] == "no-store"
    assert head.headers["upload-metadata"] == f"filename {b64('../Änna clip.mp4')}"
    asset = any_client.get(url).json()["asset"]
    plain = any_client.post("/v1/assets", params={"name": "b"}, content=b"b").json()
    assert asset == {"id": upload, "uri": f"asset://{upload}", "name": "Änna clip.mp4"}
    assert set(asset) == set(plain)
    assert note_of(upload) == {
        "name": "Änna clip.mp4",
        "size": 11,
        "sha256": hashlib.sha256(b"hello world").hexdigest(),
    }
    source = fetch_source(asset["uri"], kind="video")
    assert source_path(source).read_bytes() == b"hello world"
    assert any_client.delete(url, headers=TUS).status_code == 204
    assert any_client.head(url, headers=TUS).status_code == 404
    assert home_store().find(asset_key(upload)) is not None
    assert list(home_store().list("uploads/")) == []


def test_parts_of_any_size_fill_the_parts_of_the_bucket(connect, s3_store, monkeypatch):
    monkeypatch.setattr(s3_appends, "_PART_BYTES", 5 << 20)
    client, data = connect(), bytes(range(256)) * (48 << 10) + b"end"
    url, offset = create(client, len(data)), 0
    for size in (1, 1 << 20, 0, 6 << 20, (3 << 20) + 7, len(data)):
        answer = patch(client, url, offset, data[offset : offset + size])
        assert answer.status_code == 204, answer.text
        offset = min(offset + size, len(data))
        assert answer.headers["upload-offset"] == str(offset) == str(offset_of(client, url))
    assert b"".join(home_store().read(asset_key(url.rpartition("/")[2]))) == data
    assert list(home_store().pending_uploads()) == []
    assert not any("tail" in info.key for info in home_store().list())


def test_another_process_continues_and_needs_no_hash(any_client):
    url = create(any_client, 6)
    patch(any_client, url, 0, b"abc")
    any_client.app.state.upload_hashes = resumable_uploads.RunningHashes()  # as after a restart

    assert patch(any_client, url, 3, b"def").headers["upload-asset"]
    digest = note_of(url.rpartition("/")[2])["sha256"]
    assert digest == (None if store_is_remote() else hashlib.sha256(b"abcdef").hexdigest())


def test_an_upload_whose_process_ended_at_the_last_byte_is_completed_by_the_next_question(
    any_client, monkeypatch
):
    url = create(any_client, 3)
    with monkeypatch.context() as patched:
        patched.setattr(
            "api.routes.resumable_uploads.routes.finish_upload",
            lambda *_: (_ for _ in ()).throw(OSError("the process ended")),
        )
        with pytest.raises(OSError, match="the process ended"):
            patch(any_client, url, 0, b"abc")
    assert offset_of(any_client, url) == 3
    assert any_client.get(url).json()["asset"]["uri"] == f"asset://{url.rpartition('/')[2]}"


@pytest.mark.parametrize("offset", [0, 2, 4, 6, 999])
def test_a_wrong_offset_changes_nothing(any_client, offset):
    url = create(any_client, 6)
    patch(any_client, url, 0, b"abc")

    assert refused(patch(any_client, url, offset, b"x"), 409, "offset_mismatch")
    assert offset_of(any_client, url) == 3


def test_more_bytes_than_announced_are_refused(any_client):
    url = create(any_client, 4)
    assert refused(patch(any_client, url, 0, b"12345"), 413, "input_too_large")
    assert refused(patch(any_client, url, 0, iter([b"123", b"45"])), 413, "input_too_large")
    offset = offset_of(any_client, url)
    assert offset < 4
    assert patch(any_client, url, offset, b"1234"[offset:]).headers["upload-asset"]
    # a repetition of the last request, whose answer was lost
    assert refused(patch(any_client, url, offset, b"1234"[offset:]), 409, "offset_mismatch")
    assert patch(any_client, url, 4, b"").headers["upload-asset"]
    assert refused(patch(any_client, url, 4, b"5"), 413, "input_too_large")


def test_a_file_that_does_not_fit_on_the_disk_is_refused_before_it_is_sent(client, monkeypatch):
    monkeypatch.setattr(folder_appends.shutil, "disk_usage", lambda _: SimpleNamespace(free=99))
    answer = client.post("/v1/uploads", headers=TUS | {"Upload-Length": "100"})
    assert refused(answer, 507, "disk_full") and list(home_store().list("uploads/")) == []
    assert create(client, 99)


def test_what_the_server_can_do(client, connect, request):
    answer = client.options("/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-max-size"] == "2000000000"
    assert answer.headers["tus-extension"] == "creation,termination,expiration,checksum"
    assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256"
    request.getfixturevalue("s3_store")
    answer = connect().options("/v1/uploads/" + "0" * 32)
    assert answer.headers["tus-extension"] == "creation,termination,expiration"


@pytest.mark.parametrize("version", [None, "0.2.2", "1.0.0,1.0.0", "x" * 5000])
def test_another_version_is_refused(client, version):
    headers = {"Tus-Resumable": version} if version else {}
    url = create(client, 3)
    for answer in (
        client.post("/v1/uploads", headers=headers),
        client.patch(url, headers=headers | {"Content-Type": BYTES["Content-Type"]}, content=b"a"),
        client.delete(url, headers=headers),
    ):
        assert refused(answer, 412, "tus_version_unsupported") and answer.headers["tus-version"] == "1.0.0"
    assert client.head(url, headers=headers).status_code == 412


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 400, "malformed_request"),
        ({"Upload-Length": "-1"}, 400, "malformed_request"),
        ({"Upload-Length": "1.5"}, 400, "malformed_request"),
        ({"Upload-Length": "0x10"}, 400, "malformed_request"),
        ({"Upload-Length": "٣".encode()}, 400, "malformed_request"),
        ({"Upload-Length": " 5, 6"}, 400, "malformed_request"),
        ({"Upload-Length": "9" * 19}, 400, "malformed_request"),
        ({"Upload-Length": "9" * 18}, 413, "input_too_large"),
        ({"Upload-Length": "0"}, 422, "unsupported_media"),
        ({"Upload-Length": "5", "Upload-Defer-Length": "1"}, 400, "malformed_request"),
        ({"Upload-Length": "5", "Upload-Metadata": "filename !!"}, 400, "malformed_request"),
        ({"Upload-Length": "5", "Upload-Metadata": "a YQ==,a YQ=="}, 400, "malformed_request"),
        ({"Upload-Length": "5", "Upload-Metadata": ",,,"}, 400, "malformed_request"),
        ({"Upload-Length": "5", "Upload-Metadata": "filename /w=="}, 400, "malformed_request"),
        ({"Upload-Length": "5", "Upload-Metadata": "a" * 4097}, 400, "malformed_request"),
        ({"Upload-Length": "5", "Upload-Metadata": "nämé YQ==".encode()}, 400, "malformed_request"),
        ({"Upload-Length": "5", "Upload-Metadata": "a YQ==\xa0".encode("latin-1")}, 400, "malformed_request"),
    ],
)
def test_malformed_announcements(client, headers, status, code):
    assert refused(client.post("/v1/uploads", headers=TUS | headers), status, code)
    assert list(home_store().list("uploads/")) == []


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "a\x00b\r\nX: y", "\u202egpj.exe", "n" * 3000, "。" * 900]
)
def test_names_are_made_safe(client, name):
    url = create(client, 1, name)
    patch(client, url, 0, b"a")
    shown = client.get(url).json()["asset"]["name"]
    assert shown and not set(shown) & set("/\\\x00\r\n\u202e") and len(shown.encode()) <= 255


@pytest.mark.parametrize("offset", ["", "-1", "1e3", "0, 0", "9" * 19, "NaN"])
def test_malformed_offsets(client, offset):
    url = create(client, 3)
    answer = client.patch(url, content=b"a", headers={**BYTES, "Upload-Offset": offset})
    assert refused(answer, 400, "malformed_request") and offset_of(client, url) == 0


def test_other_kinds_of_bodies_are_refused(client):
    url = create(client, 3)
    for kind in ("application/json", "application/octet-stream", ""):
        answer = client.patch(url, content=b"a", headers={**TUS, "Upload-Offset": "0", "Content-Type": kind})
        assert refused(answer, 415, "malformed_request")
    answer = client.post("/v1/uploads", content=b"abc", headers={**BYTES, "Upload-Length": "3"})
    assert refused(answer, 400, "malformed_request")


@pytest.mark.parametrize("upload", ["0" * 32, "..%2f..%2fetc", "x", "0" * 64, "%00", "a" * 200])
def test_unknown_uploads(client, upload):
    url = f"/v1/uploads/{upload}"
    answers = [client.get(url), client.head(url, headers=TUS), client.delete(url, headers=TUS)]
    answers.append(patch(client, url, 0, b"a"))
    assert {answer.status_code for answer in answers} <= {400, 404, 422}


def test_checksums(client):
    url = create(client, 6)
    good = base64.b64encode(hashlib.sha1(b"abc").digest()).decode()

    wrong = patch(client, url, 0, b"xyz", **{"Upload-Checksum": f"sha1 {good}"})
    assert refused(wrong, 460, "checksum_mismatch") and offset_of(client, url) == 0
    assert patch(client, url, 0, b"abc", **{"Upload-Checksum": f"sha1 {good}"}).status_code == 204
    for odd in ("", "md5 YQ==", f"sha256 {good}", "sha1 !", "sha1"):
        assert refused(patch(client, url, 3, b"def", **{"Upload-Checksum": odd}), 400, "malformed_request")
    other = base64.b64encode(hashlib.sha256(b"def").digest()).decode()
    assert patch(client, url, 3, b"def", **{"Upload-Checksum": f"sha256 {other}"}).headers["upload-asset"]
    assert note_of(url.rpartition("/")[2])["sha256"] == hashlib.sha256(b"abcdef").hexdigest()


def test_a_bucket_verifies_no_checksums_and_says_so(connect, s3_store):
    client = connect()
    good = base64.b64encode(hashlib.sha1(b"abc").digest()).decode()
    answer = patch(client, create(client, 3), 0, b"abc", **{"Upload-Checksum": f"sha1 {good}"})
    assert refused(answer, 400, "malformed_request")


def test_uploads_of_other_tenants_do_not_exist(any_client, issue, connect):
    client = connect()
    mine, other, none = issue("a", tenant="acme"), issue("b", tenant="other"), issue("c")
    url = create(client, 3, **mine)
    for key in (other, none):
        assert client.head(url, headers=TUS | key).status_code == 404
        assert refused(client.get(url, headers=key), 404, "not_found")
        assert refused(patch(client, url, 0, b"abc", **key), 404, "not_found")
        assert refused(client.delete(url, headers=TUS | key), 404, "not_found")
    assert offset_of(client, url, **mine) == 0
    assert patch(client, url, 0, b"abc", **mine).headers["upload-asset"]
    asset = url.rpartition("/")[2]
    job = {"video": f"asset://{asset}"}
    theirs = client.post("/v1/jobs/prepare_avatar?dry_run=true", json=job, headers=other)
    assert (theirs.status_code, theirs.json()["code"]) == (422, "input_not_found")
    assert note_of(asset)["tenant"] == "acme"


def test_scopes(client, issue, connect):
    client, reader = connect(), issue("reader", scopes=["read"])
    assert refused(
        client.post("/v1/uploads", headers=TUS | {"Upload-Length": "3"} | reader), 403, "forbidden"
    )
    assert client.post("/v1/uploads", headers=TUS | {"Upload-Length": "3"}).status_code == 401
    assert client.options("/v1/uploads").status_code == 204
    writer = issue("writer", scopes=["submit"])
    url = create(client, 3, **writer)
    assert client.patch(url, content=b"abc", headers={**BYTES, "Upload-Offset": "0"}).status_code == 401
    assert offset_of(client, url, **writer) == 0
    assert client.delete(url, headers=TUS | writer).status_code == 204


def test_a_tenant_has_so_many_unfinished_uploads(any_client, environment, issue, connect):
    environment.setenv("MUSETALK_API__MAX_PENDING_UPLOADS", "2")
    mine, other = issue("a", tenant="acme"), issue("b", tenant="acme.eu")
    client = connect()
    urls = [create(client, 3, **mine) for _ in range(2)]
    create(client, 3, **other)
    answer = client.post("/v1/uploads", headers=TUS | {"Upload-Length": "3"} | mine)
    assert refused(answer, 429, "concurrency_limited")
    patch(client, urls[0], 0, b"abc", **mine)  # a complete one does not count
    urls.append(create(client, 3, **mine))
    client.delete(urls[1], headers=TUS | mine)
    create(client, 3, **mine)


def test_an_expired_upload_is_gone_and_a_complete_one_is_not(any_client, monkeypatch):
    url, complete = create(any_client, 6), create(any_client, 3)
    patch(any_client, url, 0, b"abc")
    patch(any_client, complete, 0, b"abc")

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=1, seconds=1)

    monkeypatch.setattr(resumable_uploads, "datetime", Later)
    assert refused(any_client.get(url), 410, "expired")
    assert refused(patch(any_client, url, 3, b"def"), 410, "expired")
    assert any_client.get(complete).json()["asset"]


def test_programs_that_can_only_post(client):
    url = create(client, 3)
    headers = {**BYTES, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert client.post(url, content=b"abc", headers=headers).headers["upload-asset"]
    assert client.post(url, headers=TUS | {"X-HTTP-Method-Override": "DELETE"}).status_code == 204
    assert client.post(url, headers=TUS).status_code == 405


def test_browsers_of_allowed_origins(connect, environment):
    origin = "https://studio.example.com"
    environment.setenv("MUSETALK_API__ALLOWED_ORIGINS", origin)
    client = connect()
    asked = client.options(
        "/v1/uploads/1",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "tus-resumable,upload-offset,content-type,authorization",
        },
    )
    assert asked.status_code == 200 and "PATCH" in asked.headers["access-control-allow-methods"]
    answer = client.post("/v1/uploads", headers=TUS | {"Upload-Length": "3", "Origin": origin})
    exposed = answer.headers["access-control-expose-headers"]
    assert answer.status_code == 201 and {"Location", "Upload-Offset", "Upload-Asset"} <= set(
        exposed.split(", ")
    )
    evil = client.post("/v1/uploads", headers=TUS | {"Upload-Length": "3", "Origin": "https://evil.example"})
    assert refused(evil, 403, "origin_not_allowed")


def test_uploads_are_counted(client):
    url = create(client, 3)
    patch(client, url, 2, b"c")  # refused: not interrupted
    assert 'event="interrupted"' not in client.get("/metrics").text
    patch(client, url, 0, b"abcd")
    assert 'event="interrupted"} 1.0' in client.get("/metrics").text
    patch(client, url, 0, b"abc")
    client.delete(url, headers=TUS)
    text = client.get("/metrics").text
    for event in ("created", "completed", "deleted"):
        assert f'musetalk_resumable_uploads_total{{event="{event}"}} 1.0' in text
    assert "musetalk_resumable_upload_bytes_total 3.0" in text
