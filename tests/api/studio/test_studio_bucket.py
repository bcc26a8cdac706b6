"""The studio with an S3 store, in a real browser: parts go to the bucket by presigned links."""

import hashlib
import os
from urllib.parse import urlsplit

import httpx
import pytest
from small_media import write_video
from studio_tab import until

from tasks.storage import s3_appends

SIZE = 12_000_000


@pytest.fixture
def app_of_server(s3_store, app_of_server):
    """The app of `server`, made after the settings name a bucket."""
    return app_of_server


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(s3_appends, "_PART_BYTES", 5 << 20)


@pytest.fixture
def big_file(tmp_path):
    path = tmp_path / "Größe & <b>.mp4"
    path.write_bytes(os.urandom(SIZE))
    return path


def digest(data):
    return hashlib.sha256(data).hexdigest()


def uploaded(page, server):
    page.get_by_role("tab", name="JSON").click()
    page.get_by_text("· uploaded").wait_for(timeout=30_000)
    asset = page.locator(".code-block").inner_text().partition("asset://")[2][:32]
    return httpx.get(f"{server}/v1/assets/{asset}").content


def puts(tab, endpoint):
    return [url for url in tab.asked if url.startswith(endpoint) and "partNumber" in url]


def test_the_policy_names_the_bucket_and_no_other_one(server, s3_store, s3_endpoint):
    policy = httpx.get(f"{server}/studio").headers["content-security-policy"]
    directives = {name: values for name, *values in (part.split() for part in policy.split(";"))}
    bucket = f"{s3_endpoint}/{s3_store}/"

    for name in ("img-src", "media-src", "connect-src"):
        assert [one for one in directives[name] if "://" in one] == [bucket]
    others = [name for name, values in directives.items() if any("://" in one for one in values)]
    assert sorted(others) == ["connect-src", "img-src", "media-src"]


def test_the_parts_of_a_file_go_to_the_bucket(server, s3_endpoint, tab, big_file):
    tab.page.goto(f"{server}/studio/new")
    tab.page.locator("#field-video").set_input_files(big_file)

    assert digest(uploaded(tab.page, server)) == digest(big_file.read_bytes())
    assert len(puts(tab, s3_endpoint)) == 3
    assert [url for url in tab.asked if url.startswith(f"{server}/v1/uploads") and "parts" not in url] != []
    assert not any(urlsplit(url).path == "/v1/uploads" for url in tab.asked), "no byte goes to the API"
    assert tab.page.evaluate("Object.keys(localStorage)") == []


def test_an_upload_to_the_bucket_is_paused_and_continues_after_a_reload(server, s3_endpoint, tab, big_file):
    page = tab.page
    held = []

    def hold_second_part(route):
        if "partNumber=2" in route.request.url and not held:
            held.append(route)  # neither answered nor aborted until the upload is paused
        else:
            route.fallback()

    page.route(f"{s3_endpoint}/**", hold_second_part)
    page.goto(f"{server}/studio/new")
    page.locator("#field-video").set_input_files(big_file)
    for _ in range(500):
        if held:
            break
        page.wait_for_timeout(20)
    page.get_by_role("button", name="Pause the upload of Video").click()
    page.get_by_text("paused at").wait_for()
    assert "43 %" in page.locator(".media-facts").inner_text(), "the first part of 5 MiB is stored"
    page.reload()
    assert big_file.name in page.locator(".notice").inner_text()

    page.locator("#field-video").set_input_files(big_file)
    assert digest(uploaded(page, server)) == digest(big_file.read_bytes())
    sent = [url for url in puts(tab, s3_endpoint) if "partNumber=1&" in url or url.endswith("partNumber=1")]
    assert len(sent) == 1, "a stored part is not sent again"


def test_a_broken_connection_to_the_bucket_continues_by_itself(server, s3_endpoint, tab, big_file):
    page, broken = tab.page, []

    def break_twice(route):
        if "partNumber=2" in route.request.url and len(broken) < 2:
            broken.append(route.request.url)
            route.abort("connectionreset")
        else:
            route.fallback()

    page.route(f"{s3_endpoint}/**", break_twice)
    page.goto(f"{server}/studio/new")
    page.locator("#field-video").set_input_files(big_file)

    assert digest(uploaded(page, server)) == digest(big_file.read_bytes())
    assert len(broken) == 2


def test_a_bucket_without_a_cors_rule_is_left_for_the_api(server, s3_endpoint, tab, big_file):
    page = tab.page
    page.route(f"{s3_endpoint}/**", lambda route: route.abort("failed"))  # what a page sees without the rule
    page.goto(f"{server}/studio/new")
    page.locator("#field-video").set_input_files(big_file)

    assert digest(uploaded(page, server)) == digest(big_file.read_bytes())
    assert any(urlsplit(url).path == "/v1/uploads" for url in tab.asked)
    until(page, "Object.keys(localStorage).length === 0")


def test_a_stopped_upload_leaves_nothing_in_the_bucket(server, s3_store, s3_endpoint, tab, big_file):
    from boto3 import Session

    page = tab.page
    page.route(
        f"{s3_endpoint}/**",
        lambda route: route.fallback() if "partNumber=2" not in route.request.url else None,
    )
    page.goto(f"{server}/studio/new")
    page.locator("#field-video").set_input_files(big_file)
    page.get_by_role("button", name="Pause the upload of Video").wait_for()
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as deleted:
        page.get_by_role("button", name="Stop Video").click()
    assert deleted.value.status == 204
    client = Session("test", "test", region_name="us-east-1").client("s3", endpoint_url=s3_endpoint)
    assert client.list_multipart_uploads(Bucket=s3_store).get("Uploads", []) == []


def test_an_upload_that_is_stopped_while_it_is_created_is_deleted(server, tab, big_file):
    page, held = tab.page, []
    page.route("**/v1/assets/direct/multipart", lambda route: held.append(route))
    page.goto(f"{server}/studio/new")
    page.locator("#field-video").set_input_files(big_file)
    page.get_by_role("button", name="Stop Video").click()
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as deleted:
        held[0].continue_()
    assert deleted.value.status == 204
    until(page, "Object.keys(localStorage).length === 0")


def test_a_result_in_the_bucket_plays(server, tab, finished, tmp_path):
    run = finished(content=write_video(tmp_path / "made.mp4").read_bytes(), fps="25")
    tab.page.goto(f"{server}/studio/jobs/{run.id}")
    until(tab.page, "document.querySelector('video[aria-label=Result]')?.readyState >= 2")


@pytest.fixture
def with_redirects(environment):
    environment.setenv("MUSETALK_API__DOWNLOAD_REDIRECTS", "true")


def test_a_result_that_is_redirected_to_the_bucket_plays(
    with_redirects, server, s3_endpoint, tab, finished, tmp_path
):
    run = finished(content=write_video(tmp_path / "made.mp4").read_bytes(), fps="25")
    tab.page.goto(f"{server}/studio/jobs/{run.id}")
    until(tab.page, "document.querySelector('video[aria-label=Result]')?.readyState >= 2")
    assert any(url.startswith(s3_endpoint) for url in tab.asked)
