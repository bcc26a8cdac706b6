"""Signed download links: what the two older services' clients open without a key, and how they end."""

import json
import re
import stat
import time
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import httpx
import pytest
from compat_documents import BODY, INFERENCE_QUERY

from flows.prefect_state.status import JobError
from flows.schemas.control import Control
from flows.webhooks.payload import JobSnapshot, build_payload
from tasks.catalog import download_links
from tasks.settings import get_settings

CONTENT = b"0123456789"
MINIMAL = {"avatars": {"avator_1": {"video_path": "asset://a", "audio_clips": {"audio_1": "asset://b"}}}}


@pytest.fixture(params=["folder", "bucket"])
def any_store(request):
    """The system's own store: a folder, or a bucket of an S3 server."""
    if request.param == "bucket":
        request.getfixturevalue("s3_store")
    return request.param


@pytest.fixture
def keyed(any_store, issue):
    """A key of one tenant; the API asks for keys."""
    return issue("acme", tenant="acme")


def shy(server):
    """A client that sends no key and follows no redirect, as generated clients do."""
    return httpx.Client(base_url=server, trust_env=False, follow_redirects=False)


def owned(runs, run, tenant="acme"):
    runs.jobs[run.id] = replace(run, control=Control(tenant=tenant))
    return runs.jobs[run.id]


def result_url(server, run, headers):
    body = shy(server).get(f"/result/{run.id}", headers=headers).json()
    assert body["status"] == "success"
    return body["result_url"]


def changed(url, **query):
    parts = urlsplit(url)
    values = {name: value for name, [value] in parse_qs(parts.query).items()} | query
    return parts._replace(query=urlencode(values)).geturl()


@pytest.mark.parametrize("name", ["anna_hello.mp4", "你好 1+2 (a)&#?.mp4"])
def test_a_result_is_opened_without_a_header(keyed, server, runs, finished, name):
    run = owned(runs, finished(name=name))
    link = result_url(server, run, keyed)

    with urllib.request.urlopen(link) as plain:  # as a browser, `curl` or the older client's script
        assert (plain.status, plain.read()) == (200, CONTENT)
    answer = shy(server).get(link)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-type"] == "video/mp4"
    assert int(answer.headers["content-length"]) == 10 and answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("name", ["anna_hello.mp4", "你好 1+2 (a)&#?.mp4"])
def test_the_link_in_a_webhook_is_opened_without_a_header(keyed, server, runs, finished, name):
    run = owned(runs, finished(name=name))
    job = JobSnapshot(run.id, "portrait", "succeeded", ended=datetime.now(UTC), result=run.result)

    body = json.loads(build_payload("completed", job, server, signed_links=True))

    with urllib.request.urlopen(body["result_url"]) as plain:
        assert (plain.status, plain.read()) == (200, CONTENT)
    assert body == json.loads(build_payload("completed", job, server, signed_links=True))
    plain_link = json.loads(build_payload("completed", job, server))["result_url"]
    assert shy(server).get(plain_link).status_code == 401


@pytest.mark.parametrize(
    ("span", "status", "content", "content_range"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=0-999", 206, CONTENT, "bytes 0-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("nonsense", None, None, None),
    ],
)
def test_a_player_reads_parts_of_it(keyed, server, runs, finished, span, status, content, content_range):
    link = result_url(server, owned(runs, finished()), keyed)

    answer = shy(server).get(link, headers={"Range": span})

    assert answer.status_code in ({status} if status else {200, 400, 416})
    if content is not None:
        assert (answer.content, answer.headers["content-range"]) == (content, content_range)
    head = shy(server).head(link)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "10", b"")
    etag = head.headers["etag"]
    for known, expected in ((etag, 206), ('"other"', 200)):
        got = shy(server).get(link, headers={"Range": "bytes=0-1", "If-Range": known})
        assert got.status_code == expected


def test_a_link_opens_one_file_of_one_job_until_it_expires(keyed, server, runs, finished):
    run, other = owned(runs, finished()), owned(runs, finished(name="other.mp4"), "other")
    link = result_url(server, run, keyed)
    soon = int(time.time()) + 7 * 86_400
    assert abs(int(parse_qs(urlsplit(link).query)["expires"][0]) - soon) < 60

    def refused(url):
        answer = shy(server).get(url)
        return answer.status_code, answer.json()["code"]

    assert refused(link.replace(str(run.id), str(other.id)).replace("anna_hello", "other"))[0] == 403
    assert refused(link.replace("anna_hello.mp4", "other.mp4")) == (403, "link_invalid")
    assert refused(changed(link, expires=soon + 9999)) == (403, "link_invalid")
    assert refused(changed(link, signature="A" * 43)) == (403, "link_invalid")
    assert refused(changed(link, signature="é")) == (403, "link_invalid")
    assert refused(changed(link, expires="soon"))[0] in {400, 422}
    assert refused(link.split("?")[0])[0] in {400, 422}
    past = int(time.time()) - 1
    old = download_links.sign_link(run.id, "anna_hello.mp4", past)
    assert refused(changed(link, expires=past, signature=old)) == (410, "expired")
    gone = download_links.sign_link(uuid4(), "anna_hello.mp4", soon)
    assert refused(changed(link, signature=gone))[0] == 403
    assert shy(server).post(link).status_code == 405


def test_other_routes_still_need_the_key(keyed, server, runs, finished):
    run = owned(runs, finished())
    query = urlsplit(result_url(server, run, keyed)).query

    for path in (f"/v1/jobs/{run.id}/files/anna_hello.mp4", f"/v1/jobs/{run.id}", f"/result/{run.id}"):
        assert shy(server).get(f"{path}?{query}").status_code == 401


def test_a_deleted_job_revokes_its_links(keyed, server, runs, finished):
    run = owned(runs, finished())
    link = result_url(server, run, keyed)

    answer = httpx.post(
        f"{server}/job/{run.id}",
        json={"status": "cancelled", "remove_data": True},
        headers=keyed,
        trust_env=False,
    )

    assert answer.status_code == 200
    assert shy(server).get(link).status_code == 404


def test_the_signature_is_not_logged(keyed, server, runs, finished, caplog):
    caplog.set_level("INFO")
    run = owned(runs, finished())
    link = result_url(server, run, keyed)
    shy(server).get(link)
    shy(server).get(changed(link, expires=1))

    signature = parse_qs(urlsplit(link).query)["signature"][0]
    ours = [one.getMessage() for one in caplog.records if not one.name.startswith(("httpx", "werkzeug"))]
    assert f"GET /v1/downloads/{run.id}/anna_hello.mp4 200" in ours
    assert not [line for line in ours if signature in line]


def test_the_key_is_made_once_and_is_its_owner_s(environment, tmp_path):
    job, later = uuid4(), int(time.time()) + 60
    signature = download_links.sign_link(job, "a.mp4", later)
    path = get_settings().link_key_file

    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and len(path.read_bytes()) == 32
    assert [one.name for one in path.parent.iterdir() if "link-key" in one.name] == ["link-key"]
    assert download_links.sign_link(job, "a.mp4", later) == signature
    path.unlink()
    with pytest.raises(download_links.LinkInvalid):
        download_links.verify_link(job, "a.mp4", later, signature)


def test_a_secret_of_the_settings_is_used_and_rotated(environment):
    def configure(*secrets):
        environment.setenv("MUSETALK_API__LINK_SECRETS", ",".join(secrets))
        get_settings.cache_clear()

    job, later, first, second = uuid4(), int(time.time()) + 60, "a" * 32, "b" * 32
    configure(first)
    signature = download_links.sign_link(job, "a.mp4", later)
    assert not get_settings().link_key_file.exists()
    configure(second, first)
    download_links.verify_link(job, "a.mp4", later, signature)
    assert download_links.sign_link(job, "a.mp4", later) != signature
    configure(second)
    with pytest.raises(download_links.LinkInvalid):
        download_links.verify_link(job, "a.mp4", later, signature)
    environment.setenv("MUSETALK_API__LINK_SECRETS", "short")
    get_settings.cache_clear()
    with pytest.raises(ValueError, match="at least 32 characters"):
        get_settings()


def inference(server, body, headers=None):
    answer = httpx.post(
        f"{server}/inference", params=INFERENCE_QUERY, json=body, headers=headers or {}, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_s3_client_without_a_bucket_gets_links_and_no_made_up_address(any_store, server, runs, finish):
    runs.on_create = finish

    body = inference(server, MINIMAL)

    assert body["s3_output_path"] is None
    assert [text for text in body["warnings"] if text.startswith("no_bucket: ")]
    for field in ("output_path", "result_url"):
        assert shy(server).get(body[field]).content == CONTENT


def test_the_s3_client_with_a_bucket_gets_an_object_that_boto3_reads(s3_store, s3_endpoint, server, runs):
    """The way of the older service's example client: post, read `s3_output_path`, download it with boto3."""
    import boto3

    from tasks.storage.s3_store import S3Store

    def in_bucket(run):
        stored = S3Store(s3_store).put_bytes("lip_sync/outputs/a_b.mp4", CONTENT)
        video = {"uri": stored.uri, "version": stored.version, "size": stored.size}
        return replace(run, status="succeeded", result={"video": video, "name": "a_b.mp4", "warnings": []})

    runs.on_create = in_bucket
    body = inference(server, BODY | {"s3_bucket": s3_store})

    bucket, _, key = body["s3_output_path"].removeprefix("s3://").partition("/")
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1")
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == CONTENT
    assert (bucket, key) == (s3_store, "lip_sync/outputs/a_b.mp4")
    assert not [text for text in body["warnings"] if text.startswith("no_bucket")]
    assert shy(server).get(body["output_path"]).content == CONTENT


@pytest.mark.parametrize(
    ("sent", "tenant", "bucket", "prefix"),
    [
        ({}, None, "renders", "lip_sync"),
        ({}, "acme", "renders", "acme/lip_sync"),
        ({"s3_bucket": "mine"}, None, "mine", "lip_sync"),
        ({"s3_bucket": "mine", "s3_prefix": ""}, None, "mine", ""),
        ({"s3_prefix": "a/b/"}, None, "renders", "a/b"),
    ],
)
def test_results_go_to_the_default_bucket_and_prefix(
    connect, environment, issue, runs, sent, tenant, bucket, prefix
):
    environment.setenv("MUSETALK_COMPAT__OUTPUT_BUCKET", "renders")
    environment.setenv("MUSETALK_COMPAT__OUTPUT_PREFIX", "{tenant}/lip_sync/")
    body = json.loads(json.dumps(MINIMAL).replace("asset://", "s3://media/"))

    answer = connect().post(
        "/inference",
        params=INFERENCE_QUERY,
        json=body | sent,
        headers={"Prefer": "wait=0"} | issue("k", **({"tenant": tenant} if tenant else {})),
    )

    assert answer.status_code == 202, answer.text
    [(_, job, _)] = runs.created
    assert (job.output.bucket, job.output.prefix) == (bucket, prefix)


def test_files_of_a_transcript_are_linked_too(keyed, server, runs, finished):
    run = finished(name="hello.txt")
    stored = run.result["video"]
    facts = {"text": "Hello.", "name": "hello.txt", "files": {"hello.txt": stored, "hello.srt": stored}}
    owned(runs, replace(run, type="transcribe", result=facts))

    body = shy(server).get(f"/result/{run.id}", headers=keyed).json()

    assert body["text"] == "Hello." and set(body["files"]) == {"hello.txt", "hello.srt"}
    assert all(shy(server).get(link).content == CONTENT for link in body["files"].values())


def test_a_replaced_or_deleted_file_is_told(server, runs, finished):
    run = finished()
    link = result_url(server, run, {})
    path = Path(run.result["video"]["uri"].removeprefix("file://"))
    path.write_bytes(b"something else")
    assert shy(server).get(link).json()["code"] == "result_replaced"
    path.unlink()
    assert shy(server).get(link).json()["code"] == "expired"


def test_a_failed_job_has_no_link(server, runs):
    run = runs.add(status="failed", error=JobError("no_face", "No face.", False))

    assert "result_url" not in httpx.get(f"{server}/result/{run.id}", trust_env=False).json()


def test_downloads_are_redirected_to_the_bucket_on_request(environment, s3_store, connect, finished):
    environment.setenv("MUSETALK_API__DOWNLOAD_REDIRECTS", "true")
    run = finished()
    client = connect(follow_redirects=False)

    for path in (f"/v1/jobs/{run.id}/files/anna_hello.mp4", f"/v1/jobs/{run.id}/result"):
        answer = client.get(path)
        assert answer.status_code == 307
        assert httpx.get(answer.headers["location"], trust_env=False).content == CONTENT
    link = client.get(f"/result/{run.id}").json()["result_url"]
    assert re.search(r"/v1/downloads/", link) and client.get(link).content == CONTENT
