"""The studio on a whole stack: first video in five clicks, a spoken portrait, a cancelled job."""

import hashlib
from pathlib import Path

import httpx
import pytest
from browser import browsing
from studio_tab import NOTE_VIOLATIONS, until

pytestmark = [pytest.mark.stack, pytest.mark.slow]

ASSETS = Path(__file__).resolve().parents[1] / "assets"
PHOTO, SPEECH = ASSETS / "astronaut.jpg", next(ASSETS.glob("sense*0870.wav"))
SENTENCE = "Good morning. This portrait speaks a text."
COUNT_PRESSES = """window.addEventListener('pointerdown', () =>
  sessionStorage.setItem('presses', 1 + Number(sessionStorage.getItem('presses'))), true)"""
PIXELS = """video => {
  const canvas = document.createElement("canvas"); canvas.width = canvas.height = 128;
  const context = canvas.getContext("2d"); context.drawImage(video, 0, 0, 128, 128);
  return Array.from(context.getImageData(0, 0, 128, 128).data).join();
}"""
READY = "document.querySelector('video[aria-label=Result]')?.readyState >= 2"


@pytest.fixture(scope="module")
def stack(browsed_stack):
    return browsed_stack


@pytest.fixture
def tab(tmp_path):
    with browsing(tmp_path, width=1280, height=860) as tab:
        tab.page.set_default_timeout(30_000)
        violations = []
        tab.page.expose_function("noteViolation", lambda text: violations.append(text))
        tab.page.add_init_script(NOTE_VIOLATIONS)
        tab.page.add_init_script(COUNT_PRESSES)
        yield tab
        assert tab.errors == [] and violations == [] and tab.elsewhere() == []


def choose(page, field, path):
    with page.expect_file_chooser() as chooser:
        page.locator(f"[data-pointer='#/{field}'] .drop").click()
    chooser.value.set_files(path)


def wait_for_result(page):
    page.locator(".job-title .status-succeeded").wait_for(timeout=240_000)
    until(page, READY)


def test_the_first_video_takes_five_clicks(stack, tab):
    page = tab.page
    assert f"studio:  {stack.api_url}/studio" in stack.log.read_text()
    page.goto(stack.api_url)
    choose(page, "video", PHOTO)
    choose(page, "audio", SPEECH)
    page.get_by_text("· uploaded").nth(1).wait_for()
    page.get_by_role("img", name="Waveform of 7.1 s of sound").wait_for()
    tab.shot("studio-new")
    page.get_by_role("button", name="Run").click()
    page.locator(".job-title .status-running").wait_for(timeout=60_000)
    page.reload()  # the view resumes
    page.locator("[aria-current=step]").wait_for(timeout=60_000)
    page.get_by_alt_text("Newest rendered frame").wait_for(timeout=120_000)
    until(page, "document.querySelector('.preview-frame img').naturalWidth === 320")
    tab.shot("studio-running")
    wait_for_result(page)
    player = page.locator("video[aria-label=Result]")
    before = player.evaluate(PIXELS)
    page.get_by_role("button", name="Play").click()
    until(page, "document.querySelector('video[aria-label=Result]').currentTime > 1.5", seconds=30)
    assert player.evaluate(PIXELS) != before
    tab.shot("studio-result")
    with page.expect_download() as download:
        page.locator(".job-head").get_by_role("button", name="Download").click()
    assert int(page.evaluate("sessionStorage.getItem('presses')")) == 5

    job = page.url.rsplit("/", 1)[1]
    result = httpx.get(f"{stack.api_url}/v1/jobs/{job}/result")
    downloaded = Path(download.value.path()).read_bytes()
    assert hashlib.sha256(downloaded).digest() == hashlib.sha256(result.content).digest()
    page.get_by_text("Provenance and lineage").click()
    page.locator(".lineage").get_by_text(SPEECH.name).wait_for()


def test_a_photo_speaks_a_text_and_is_verified(stack, tab):
    page = tab.page
    page.goto(f"{stack.api_url}/studio/new?type=portrait")
    choose(page, "image", PHOTO)
    page.get_by_label("Text text").fill(SENTENCE)
    page.get_by_text("· uploaded").wait_for()
    page.get_by_role("button", name="Check").click()
    page.get_by_text("This job can run").wait_for()
    tab.shot("studio-check")
    page.get_by_role("button", name="Run").click()
    page.wait_for_url("**/studio/jobs/*")
    wait_for_result(page)
    page.get_by_label("Captions").select_option(label="spoken text (estimated times)")
    page.get_by_label("Position in seconds").fill("0.6")
    until(page, "document.querySelector('video[aria-label=Result]').textTracks[0]?.activeCues?.length === 1")
    assert page.get_by_role("link", name="Prefect run").get_attribute("href").endswith(page.url[-36:])
    page.get_by_role("link", name="Verify").click()
    page.get_by_role("button", name="Run").click()
    page.wait_for_url(lambda address: "/studio/jobs/" in address)
    page.locator(".job-title .status-succeeded").wait_for(timeout=120_000)
    assert page.locator(".result .notice").first.inner_text().startswith("Unchanged, ")
    assert "musetalk-flows" in page.locator(".result > .facts").first.inner_text()
    assert page.locator(".result .ingredients strong").first.inner_text() == "image"


def test_a_running_job_is_cancelled(stack, tab):
    page = tab.page
    long_text = " ".join(f"This is sentence number {number} of a long text." for number in range(200))
    job = httpx.post(f"{stack.api_url}/v1/jobs/speech", json={"text": long_text}).json()["id"]
    page.goto(f"{stack.api_url}/studio/jobs/{job}")
    page.locator(".job-title .status-running").wait_for(timeout=60_000)
    page.get_by_role("button", name="Cancel").click()
    page.locator(".job-title .status-canceled").wait_for(timeout=60_000)
    page.get_by_role("button", name="Retry").wait_for()


def test_the_lists_show_what_was_made(stack, tab):
    page = tab.page
    page.goto(f"{stack.api_url}/studio/jobs")
    until(page, "document.querySelectorAll('.thumb img').length >= 2", seconds=30)
    until(page, "[...document.querySelectorAll('.thumb img')].every(one => one.naturalWidth > 0)")
    tab.shot("studio-jobs")
    page.goto(f"{stack.api_url}/studio/avatars")
    page.get_by_role("heading", name=PHOTO.name).first.wait_for()
    until(page, "[...document.querySelectorAll('img.face-thumb')].some(one => one.naturalWidth > 60)")
    tab.shot("studio-avatars")
    page.goto(f"{stack.api_url}/studio/system")
    page.get_by_text("Ready for jobs").wait_for()
    page.locator(".worker").first.wait_for()
    tab.shot("studio-system")
