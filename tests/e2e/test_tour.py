"""A person's way through Prefect's pages: find the deployment, fill in two fields, look at what comes."""

import io

import av
import cv2
import httpx
import numpy as np
import pytest
from browser import browsing

from api.client import MusetalkClient
from flows.registry import JOB_TYPES

pytestmark = [pytest.mark.stack, pytest.mark.slow]

SCROLLED = "document.querySelector('.app-router-view').scrollTop"


@pytest.fixture(scope="module")
def stack(browsed_stack):
    return browsed_stack


@pytest.fixture
def tab(tmp_path):
    with browsing(tmp_path) as tab:
        tab.page.set_default_timeout(30_000)
        yield tab


@pytest.fixture(scope="module")
def media(stack, tmp_path_factory):
    """A swaying portrait and a sentence, uploaded."""
    from pathlib import Path

    assets = Path(__file__).resolve().parents[1] / "assets"
    folder = tmp_path_factory.mktemp("media")
    image = cv2.resize(
        cv2.imdecode(np.fromfile(assets / "astronaut.jpg", np.uint8), cv2.IMREAD_COLOR), (320, 320)
    )
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "16", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuv420p"
        for number in range(25):
            moved = np.roll(image, number % 5, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, "bgr24")))
        container.mux(stream.encode())
    (folder / "anna.mp4").write_bytes(buffer.getvalue())
    api = MusetalkClient(stack.api_url)
    return api.upload(folder / "anna.mp4"), api.upload(next(assets.glob("sense*0870.wav")))


def is_shown(image):
    return image.evaluate("one => one.complete && one.naturalWidth > 0")


def test_a_run_is_started_from_its_form_with_two_addresses_and_shows_what_it_made(stack, media, tab):
    page, (video, audio) = tab.page, media
    page.goto(stack.prefect_url)
    page.locator("a[href$='/deployments']").first.click()
    row = page.locator("tr").filter(has=page.get_by_text("Lip sync", exact=True))
    row.get_by_text("video", exact=True).wait_for()
    tab.shot("1-deployments")
    row.locator("a[href*='/deployments/deployment/']").first.click()
    page.get_by_text("Description", exact=True).first.click()
    page.get_by_text("Lip-sync the person in a video to the given speech").wait_for()
    tab.shot("2-deployment")

    page.goto(f"{page.url.split('?')[0]}/run")
    page.get_by_text("Run Name").wait_for()
    fields = page.locator("textarea")
    fields.nth(1).wait_for()
    tab.shot("3-form")
    titles = [text.strip() for text in page.locator("label").all_inner_texts() if text.strip()]
    missing = [one for one in FORM if not any(title.startswith(one) for title in titles)]
    assert missing == [], titles
    order = [next(n for n, title in enumerate(titles) if title.startswith(one)) for one in FORM]
    assert order == sorted(order), titles
    fields.nth(0).fill(video)
    fields.nth(1).fill(audio)
    page.evaluate(f"{SCROLLED} = 99999")
    tab.shot("4-form-end")
    with page.expect_response(lambda answer: "create_flow_run" in answer.url) as sent:
        page.get_by_role("button", name="Submit").click()
    assert sent.value.status == 201, sent.value.text()
    run = sent.value.json()["id"]

    page.goto(f"{stack.prefect_url}/runs/flow-run/{run}")
    page.get_by_text("Running").first.wait_for(timeout=60_000)
    tab.shot("5-running")
    page.get_by_text("Completed").first.wait_for(timeout=240_000)
    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text("preview", exact=True).first.wait_for()
    page.wait_for_timeout(1000)
    tab.shot("6-artifacts")

    notes = {note["key"]: note["id"] for note in artifacts(stack, run)}
    assert notes.keys() >= {"preview", "lineage", "result", "timings", "progress"}
    page.goto(f"{stack.prefect_url}/artifacts/artifact/{notes['preview']}")
    page.get_by_text("as an input of another job").wait_for()
    pictures = page.locator("img[src^='data:image/']")
    assert pictures.count() == 2 and all(is_shown(pictures.nth(n)) for n in range(2))
    tab.shot("7-preview")
    page.goto(f"{stack.prefect_url}/artifacts/artifact/{notes['lineage']}")
    page.get_by_text("face-mesh").first.wait_for()
    tab.shot("8-lineage")

    lineage = MusetalkClient(stack.api_url).lineage(run)["lineage"]
    assert [file["given"] for file in lineage["inputs"]] == [video, audio]
    assert lineage["links"]["prefect"] == f"{stack.prefect_url}/runs/flow-run/{run}"
    assert tab.elsewhere() == [], "nothing is asked of anybody else"


FORM = [
    "Video",
    "Speech",
    "Transcript",
    "Engine",
    "Encoding",
    "Output location",
    "MuseTalk options",
    "Tenant",
    "Priority",
]
"""The most important fields come first; the control options come last."""


@pytest.mark.parametrize("kind", ["portrait", "prepare_avatar", "speech", "transcribe", "analyze"])
def test_every_form_opens(stack, tab, kind):
    found = httpx.get(f"{stack.prefect_url}/api/deployments/name/{JOB_TYPES[kind].deployment}").json()
    tab.page.goto(f"{stack.prefect_url}/deployments/deployment/{found['id']}/run")
    tab.page.get_by_text("Control options").wait_for()
    tab.page.get_by_role("button", name="Submit").wait_for()
    tab.shot(f"form-{kind}")
    assert tab.elsewhere() == [] and tab.errors == []


def artifacts(stack, run):
    wanted = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    return httpx.post(f"{stack.prefect_url}/api/artifacts/filter", json=wanted).json()
