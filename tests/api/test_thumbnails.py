"""Small pictures of jobs: as workers write them, and nothing else that an artifact may hold."""

import base64
from dataclasses import replace
from types import SimpleNamespace
from uuid import uuid4

import pytest

from api.dependencies import get_thumbnail_store
from api.orchestrator.thumbnails import Thumbnail, picture_of
from flows.media.preview import _image
from flows.schemas.control import Control
from tasks.artifact_pages import analysis

JPEG, PNG = b"\xff\xd8\xff" + b"a" * 500, b"\x89PNG\r\n\x1a\n" + b"b" * 500


class FakeThumbnails:
    def __init__(self):
        self.known = {}

    async def read(self, job_id):
        return self.known.get(job_id)


@pytest.fixture
def thumbnails(client):
    fake = FakeThumbnails()
    client.app.dependency_overrides[get_thumbnail_store] = lambda: fake
    return fake


def artifact(text):
    return SimpleNamespace(data=text, id=uuid4())


def test_a_picture_is_served_and_cached(client, finished, thumbnails):
    run = finished()
    thumbnails.known[run.id] = Thumbnail(JPEG, "image/jpeg", "1")

    answer = client.get(f"/v1/jobs/{run.id}/thumbnail")

    assert answer.status_code == 200 and answer.content == JPEG
    assert (
        answer.headers["content-type"] == "image/jpeg"
        and answer.headers["x-content-type-options"] == "nosniff"
    )
    assert answer.headers["cache-control"] == "private, max-age=86400"
    again = client.get(f"/v1/jobs/{run.id}/thumbnail", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304 and not again.content
    assert client.get(f"/v1/jobs/{run.id}/thumbnail", headers={"If-None-Match": '"2"'}).status_code == 200


def test_jobs_without_a_picture(client, runs, finished, thumbnails):
    for job, status in (
        (finished().id, 404),
        (uuid4(), 404),
        (runs.running().id, 409),
        (runs.failed().id, 404),
    ):
        assert client.get(f"/v1/jobs/{job}/thumbnail").status_code == status


def test_pictures_of_another_tenant(connect, runs, finished, issue):
    fake, run = FakeThumbnails(), finished()
    runs.jobs[run.id] = replace(run, control=Control(tenant="other"))
    fake.known[run.id] = Thumbnail(JPEG, "image/jpeg", "1")
    mine, theirs = issue("a", tenant="acme"), issue("b", tenant="other")
    client = connect()
    client.app.dependency_overrides[get_thumbnail_store] = lambda: fake
    assert client.get(f"/v1/jobs/{run.id}/thumbnail", headers=mine).status_code == 404
    assert client.get(f"/v1/jobs/{run.id}/thumbnail", headers=theirs).status_code == 200
    assert client.get(f"/v1/jobs/{run.id}/thumbnail").status_code == 401


def test_pictures_are_found_where_workers_write_them(monkeypatch):
    written = []
    monkeypatch.setattr(
        analysis, "create_markdown_artifact", lambda **fields: written.append(fields["markdown"])
    )
    hostile = f"![x](data:image/png;base64,{base64.b64encode(PNG).decode()})"
    analysis.show_analysis(JPEG, hostile, "starter", [])
    found = picture_of(artifact(written[0]))
    assert (found.content, found.media_type) == (JPEG, "image/jpeg")
    page = "\n\n".join(
        [_image("frames of the video", "jpeg", JPEG), _image("seconds per phase", "svg+xml", b"<svg/>")]
    )
    assert picture_of(artifact(page)).content == JPEG
    wave = picture_of(artifact(_image("waveform", "png", PNG)))
    assert (wave.content, wave.media_type) == (PNG, "image/png")


@pytest.mark.parametrize(
    "text",
    [
        None,
        {"a": 1},
        "",
        "![x](https://evil.example/a.jpg)",
        _image("x", "svg+xml", b"<svg onload='alert(1)'/>"),
        _image("x", "jpeg", b"<html>"),
        _image("x", "png", JPEG),
        _image("x", "jpeg", b"\xff\xd8\xff" + b"a" * 1_000_001),
        "![x](data:image/jpeg;base64,/9j/!)",
        "![x](data:text/html;base64,/9j/)",
    ],
)
def test_whatever_else_an_artifact_holds_is_no_picture(text):
    assert picture_of(artifact(text)) is None
