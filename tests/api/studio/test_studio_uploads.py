"""Uploads of the studio: broken connections, pause, reload, and files that the server refuses."""

import hashlib
import os

import httpx
import pytest
from cutting_proxy import CuttingProxy

CUTS = 5
SIZE = 12_000_000


@pytest.fixture
def big_file(tmp_path):
    path = tmp_path / "Größe & <b>.mp4"
    path.write_bytes(os.urandom(SIZE))
    return path


def asset_of(page, server):
    """The uploaded file as the request beside the form names it."""
    page.get_by_role("tab", name="JSON").click()
    page.get_by_text("· uploaded").wait_for(timeout=30_000)
    asset = page.locator(".code-block").inner_text().partition("asset://")[2][:32]
    return httpx.get(f"{server}/v1/assets/{asset}")


def test_an_upload_cut_five_times_arrives_once_and_whole(server, tab, big_file):
    proxy = CuttingProxy(server, CUTS, after_bytes=1_500_000)
    tab.page.goto(f"{proxy.url}/studio/new")
    tab.page.locator("#field-video").set_input_files(big_file)
    answer = asset_of(tab.page, server)
    created = [url for url in tab.asked if url.endswith("/v1/uploads")]

    assert proxy.left < 0 and len(created) == 1
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(big_file.read_bytes()).digest()
    assert "Gr%C3%B6%C3%9Fe" in answer.headers["content-disposition"]
    assert tab.page.evaluate("Object.keys(localStorage)") == []
    proxy.close()


def test_an_upload_is_paused_and_continues_after_a_reload(server, tab, big_file):
    page, patches = tab.page, []
    page.on("request", lambda one: patches.append(one) if one.method == "PATCH" else None)
    # the first request for bytes is held back until the upload is paused
    page.route("**/v1/uploads/*", lambda route: route.fallback() if len(patches) > 1 else None)
    page.goto(f"{server}/studio/new")
    page.locator("#field-video").set_input_files(big_file)
    page.get_by_role("button", name="Pause the upload of Video").click()
    page.get_by_text("paused at").wait_for()
    page.reload()
    assert big_file.name in page.locator(".notice").inner_text()

    page.unroute("**/v1/uploads/*")
    page.locator("#field-video").set_input_files(big_file)
    assert asset_of(page, server).content == big_file.read_bytes()
    assert len([url for url in tab.asked if url.endswith("/v1/uploads")]) == 1


def test_an_upload_is_stopped_and_leaves_nothing(server, tab, big_file):
    page = tab.page
    page.route("**/v1/uploads/*", lambda route: route.fallback() if route.request.method != "PATCH" else None)
    page.goto(f"{server}/studio/new")
    page.locator("#field-video").set_input_files(big_file)
    page.get_by_role("button", name="Pause the upload of Video").wait_for()
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as deleted:
        page.get_by_role("button", name="Stop Video").click()

    assert deleted.value.status == 204
    assert httpx.head(deleted.value.url, headers={"Tus-Resumable": "1.0.0"}).status_code == 404
    page.get_by_text("Drop a video").wait_for()


DROP = """(file) => {
  const found = new DataTransfer();
  found.items.add(new File([file.text], file.name, { type: "video/mp4" }));
  const [target] = document.querySelectorAll(file.target);
  return ["dragover", "drop"].map((name) => !target.dispatchEvent(
    new DragEvent(name, { dataTransfer: found, bubbles: true, cancelable: true })));
}"""


def test_a_dropped_file_is_uploaded_and_one_beside_the_field_does_not_replace_the_page(server, tab):
    page = tab.page
    page.goto(f"{server}/studio/new")
    field = page.locator("[data-pointer='#/video']")
    field.locator(".drop").wait_for()
    file = {"name": "anna.mp4", "text": "made", "target": "h1"}
    assert page.evaluate(DROP, file) == [True, True], "the browser would open the file instead of the page"
    assert field.locator(".drop").count() == 1

    assert page.evaluate(DROP, file | {"target": "[data-pointer='#/video'] .drop"}) == [True, True]
    field.get_by_text("anna.mp4").wait_for()
    field.get_by_text("4 B · uploaded").wait_for()
