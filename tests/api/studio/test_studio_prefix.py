"""The studio and the API below a path of a reverse proxy, which removes the path from requests or not."""

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from prefix_proxy import prefix_proxy
from small_media import write_video
from studio_tab import until

ASSETS = Path(__file__).resolve().parents[2] / "assets"
PHOTO, SPEECH = ASSETS / "astronaut.jpg", next(ASSETS.glob("sense*0870.wav"))
PREFIX = "/render"


@pytest.fixture
def app_of_server(environment, request):
    environment.setenv("MUSETALK_API__ROOT_PATH", PREFIX)
    return request.getfixturevalue("app_below_prefix")


@pytest.fixture
def app_below_prefix(new_app, runs):
    from api.dependencies import get_job_store

    app = new_app()
    app.dependency_overrides[get_job_store] = lambda: runs
    return app


@pytest.fixture(params=["stripped", "kept"])
def proxy(request, server):
    with prefix_proxy(server, PREFIX, strips=request.param == "stripped") as url:
        yield url


def test_everything_works_below_the_prefix(proxy, tab, runs, finish, tmp_path):
    page = tab.page
    page.goto(f"{proxy}{PREFIX}/")
    page.locator("#field-video").set_input_files(PHOTO)
    page.locator("#field-audio").set_input_files(SPEECH)
    page.get_by_text("· uploaded").nth(1).wait_for()
    assert f"curl -s {proxy}{PREFIX}/v1/jobs/lip_sync" in page.locator(".code-block").inner_text()
    video = write_video(tmp_path / "made.mp4").read_bytes()
    runs.on_create = lambda run: finish(run, content=video, fps="25")
    page.get_by_role("button", name="Run").click()
    page.wait_for_url(f"{proxy}{PREFIX}/studio/jobs/*")
    until(page, "document.querySelector('video[aria-label=Result]')?.readyState >= 2")
    with page.expect_download() as download:
        page.locator(".job-head").get_by_role("button", name="Download").click()
    assert Path(download.value.path()).read_bytes() == video

    page.get_by_role("link", name="Jobs", exact=True).click()
    page.locator("tbody tr").wait_for()
    assert urlsplit(page.url).path == f"{PREFIX}/studio/jobs"
    page.reload()
    page.locator("th").get_by_role("link", name="Lip-sync").click()
    page.locator("h1", has_text="Lip-sync").wait_for()
    page.go_back()
    page.get_by_role("heading", name="Jobs").wait_for()
    page.goto(f"{proxy}{PREFIX}/docs")
    page.locator(".opblock").first.wait_for(timeout=30_000)

    # no request leaves the prefix
    assert all(urlsplit(url).path.startswith(f"{PREFIX}/") for url in tab.asked if url.startswith("http"))


def test_a_key_and_signed_links_below_the_prefix(issue, proxy, tab, finished, tmp_path):
    key = issue("tester")["Authorization"].removeprefix("Bearer ")
    run = finished(content=write_video(tmp_path / "made.mp4").read_bytes(), fps="25")
    page = tab.page
    page.goto(f"{proxy}{PREFIX}/studio/settings")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Save and test").click()
    page.get_by_text("accepts this key").wait_for()
    page.goto(f"{proxy}{PREFIX}/studio/jobs/{run.id}")
    until(page, "document.querySelector('video[aria-label=Result]')?.readyState >= 2")
    assert urlsplit(
        page.locator("video[aria-label=Result]").evaluate("one => one.currentSrc")
    ).path.startswith(f"{PREFIX}/v1/downloads/")


def test_addresses_in_answers_contain_the_prefix(proxy, runs):
    for _ in range(3):
        runs.failed()
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "3"}
    made = httpx.post(f"{proxy}{PREFIX}/v1/uploads", headers=tus)
    assert made.headers["location"].startswith(f"{PREFIX}/v1/uploads/")
    page = httpx.get(f"{proxy}{PREFIX}/v1/jobs?limit=1")
    link = page.headers["link"].partition("<")[2].partition(">")[0]
    assert urlsplit(link).path == f"{PREFIX}/v1/jobs" and "limit=1" in link
    assert urlsplit(page.json()["jobs"][0]["links"]["self"]).path.startswith(f"{PREFIX}/v1/jobs/")
    missing = httpx.get(f"{proxy}{PREFIX}/v1/jobs/00000000-0000-0000-0000-000000000000")
    assert missing.json()["type"] == f"{PREFIX}/docs/problems#not_found"
    assert httpx.get(f"{proxy}{PREFIX}/docs/problems").status_code == 200
    assert httpx.get(f"{proxy}/v1/jobs").status_code == 404


def test_the_python_client_works_below_the_prefix(proxy, runs, tmp_path):
    from api.client import MusetalkClient

    client = MusetalkClient(f"{proxy}{PREFIX}")
    path = tmp_path / "hello.wav"
    path.write_bytes(SPEECH.read_bytes())
    reference = client.upload(path)
    job = client.submit("transcribe", {"audio": reference})
    assert client.job(job["id"])["type"] == "transcribe"
