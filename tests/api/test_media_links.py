"""Signed links to media of the v1 API: whose they are, how long they last, and what they open."""

import time
from dataclasses import replace
from datetime import datetime
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import httpx
import pytest

from flows.schemas.control import Control
from tasks.catalog import download_links
from tasks.storage.home_store import home_store

CONTENT = b"0123456789"


@pytest.fixture(params=["folder", "bucket"])
def any_store(request):
    if request.param == "bucket":
        request.getfixturevalue("s3_store")


@pytest.fixture
def own(any_store, issue):
    return issue("anna", tenant="anna")


@pytest.fixture
def other(own, issue):
    return issue("ben", tenant="ben")


@pytest.fixture
def run(own, runs, finished):
    made = finished(name="你好 1+2 &#?.mp4")
    runs.jobs[made.id] = replace(made, control=Control(tenant="anna"))
    return runs.jobs[made.id]


@pytest.fixture
def asset(own, server):
    sent = httpx.post(
        f"{server}/v1/assets?name=anna.mp4",
        content=CONTENT,
        headers=own | {"Content-Type": "application/octet-stream"},
    )
    return sent.json()["id"]


def changed(url, **query):
    parts = urlsplit(url)
    values = {name: value for name, [value] in parse_qs(parts.query).items()} | query
    return parts._replace(query=urlencode(values)).geturl()


def test_files_of_a_job_are_read_by_ranges_without_a_key(own, server, run):
    found = httpx.get(f"{server}/v1/jobs/{run.id}/links?lifetime_s=600", headers=own).json()
    [link] = found["files"]

    assert link["name"] == "你好 1+2 &#?.mp4"
    assert 590 < datetime.fromisoformat(found["expires_at"]).timestamp() - time.time() <= 601
    part = httpx.get(link["url"], headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["cache-control"] == "private" and part.headers["content-type"] == "video/mp4"
    assert httpx.head(link["url"]).headers["content-length"] == "10"


def test_an_upload_is_read_by_ranges_without_a_key(own, server, asset):
    link = httpx.get(f"{server}/v1/assets/{asset}/link", headers=own).json()

    part = httpx.get(link["url"], headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    home_store().delete(f"assets/{asset}/data")
    home_store().delete(f"assets/{asset}/asset.json")
    assert httpx.get(link["url"]).status_code >= 400, "deleting the upload revokes the link"


def test_links_are_made_for_those_who_may_read(other, server, run, asset):
    for path in (f"/v1/jobs/{run.id}/links", f"/v1/assets/{asset}/link"):
        assert httpx.get(server + path).status_code == 401
        refused = httpx.get(server + path, headers=other)
        assert refused.status_code in {404, 422} and "url" not in refused.json()


def test_a_changed_or_expired_link_is_refused(own, server, run, asset, monkeypatch):
    urls = [
        httpx.get(f"{server}/v1/jobs/{run.id}/links", headers=own).json()["files"][0]["url"],
        httpx.get(f"{server}/v1/assets/{asset}/link", headers=own).json()["url"],
    ]
    for url in urls:
        later = str(int(parse_qs(urlsplit(url).query)["expires"][0]) + 9999)
        for wrong in (changed(url, expires=later), changed(url, signature="A" * 43)):
            assert httpx.get(wrong).json()["code"] == "link_invalid"
    swapped = urls[1].replace(asset, uuid4().hex)
    assert httpx.get(swapped).json()["code"] == "link_invalid"
    monkeypatch.setattr(download_links.time, "time", lambda: time.monotonic() + 10**10)
    assert {httpx.get(url).json()["code"] for url in urls} == {"expired"}


def test_a_job_without_files_has_no_links(client, runs):
    assert client.get(f"/v1/jobs/{runs.running().id}/links").json()["code"] == "not_ready"
    assert client.get(f"/v1/jobs/{runs.failed().id}/links").json()["code"] == "not_found"
    assert client.get(f"/v1/jobs/{uuid4()}/links").json()["code"] == "not_found"


@pytest.mark.parametrize("lifetime", [59, 86_401, "x"])
def test_the_lifetime_has_bounds(client, finished, lifetime):
    answer = client.get(f"/v1/jobs/{finished().id}/links?lifetime_s={lifetime}")
    assert answer.json()["code"] in {"invalid_input", "malformed_request"}
