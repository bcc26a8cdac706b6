"""Media in the studio: signed links, preview frames, captions and faces, in a real browser."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import cv2
import pytest
from avatar_examples import avatar_note
from lineages import lineage_of
from small_media import write_video
from studio_tab import until

from flows.prefect_state.status import Progress
from tasks.cache.artefacts import artefact_cache
from tasks.catalog.assets import save_asset
from tasks.catalog.avatar_notes import save_note
from tasks.catalog.preview_frames import write_preview_frame
from tasks.storage.home_store import home_store

ASSETS = Path(__file__).resolve().parents[2] / "assets"
PHOTO = ASSETS / "astronaut.jpg"


def test_a_key_is_asked_for_and_stays_in_the_tab(issue, server, runs, finished, tab, tmp_path):
    key = issue("tester")["Authorization"].removeprefix("Bearer ")
    run = finished(content=write_video(tmp_path / "made.mp4").read_bytes(), fps="25")
    page = tab.page
    page.goto(f"{server}/studio/jobs/{run.id}")
    page.get_by_role("link", name="Enter an API key").click()
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Save and test").click()
    page.get_by_text("The server accepts this key.").wait_for()
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]

    media = []
    page.on("response", lambda answer: media.append(answer) if "/v1/downloads/" in answer.url else None)
    page.go_back()
    until(page, "document.querySelector('video[aria-label=Result]')?.readyState >= 2")
    for position in (1.5, 0.2, 1.9):
        page.get_by_label("Position in seconds").fill(str(position))
    until(page, "Math.abs(document.querySelector('video[aria-label=Result]').currentTime - 1.9) < 0.1")
    assert key not in " ".join(tab.asked)
    assert media != [] and all(answer.request.resource_type == "media" for answer in media)
    sent = [answer.request.all_headers() for answer in media]
    assert all("range" in headers and "authorization" not in headers for headers in sent)
    assert {answer.status for answer in media} == {206}
    with page.expect_download() as download:
        page.locator(".job-head").get_by_role("button", name="Download").click()
    assert Path(download.value.path()).read_bytes() == (tmp_path / "made.mp4").read_bytes()


def test_the_newest_frame_is_shown_while_a_job_renders(server, runs, tab):
    run = runs.add(status="running", progress=Progress(10.0, "render", 10, 100, 0))
    page = tab.page
    page.goto(f"{server}/studio/jobs/{run.id}")
    page.get_by_text("10 of 100 frames").wait_for()
    assert page.get_by_alt_text("Newest rendered frame").count() == 0
    for number in (1, 2):
        write_preview_frame(run.id, small_picture(PHOTO, 100 * number))
        newer = Progress(10.0, "encode", 10, 100, number)  # no progress but a new frame
        runs.jobs[run.id] = replace(runs.jobs[run.id], progress=newer)
        until(page, f"document.querySelector('.preview-frame img')?.naturalWidth === {100 * number}")
    runs.jobs[run.id] = replace(runs.jobs[run.id], status="canceled", ended=datetime.now(UTC))
    page.locator(".status-canceled").first.wait_for()
    assert page.get_by_alt_text("Newest rendered frame").count() == 0


def small_picture(path, width):
    picture = cv2.resize(cv2.imread(str(path)), (width, width))
    return cv2.imencode(".jpg", picture)[1].tobytes()


VTT = """WEBVTT

00:00:00.000 --> 00:00:01.000
Good <i>morning</i>.

00:00:01.000 --> 00:00:02.000
Second line.
"""
SRT = "1\n00:00:00,000 --> 00:00:02,000\nFrom an SRT file.\n"
CUES = """[...document.querySelector('video[aria-label=Result]').textTracks]
  .filter(one => one.mode === 'showing').flatMap(one => [...(one.activeCues || [])])
  .map(cue => cue.getCueAsHTML().textContent)"""


def test_captions_of_related_jobs_are_switched_on_and_off(
    server, runs, records, finished, tab, tmp_path, key_or_none
):
    video = write_video(tmp_path / "made.mp4").read_bytes()
    parent, own = uuid4(), save_asset([SRT.encode()], "lines.srt")
    done = finished(content=video, fps="25", speech_s=2.0)
    transcript = runs.add(type="transcribe", status="succeeded", part_of=parent)
    stored = home_store().put_bytes(f"outputs/{transcript.id}/hello.vtt", VTT.encode())
    ref = {"uri": stored.uri, "version": stored.version, "size": stored.size}
    runs.jobs[transcript.id] = replace(
        transcript, result={"text": "Good morning.", "files": {"hello.vtt": ref}}
    )
    runs.jobs[done.id] = replace(
        done, part_of=parent, parameters={"text": "First sentence. And a second one."}
    )
    lineage = lineage_of(done.id, transcript.id)
    asset = lineage.inputs[0].model_copy(update={"name": "lines.srt", "given": f"asset://{own}"})
    records.lineages[done.id] = lineage.model_copy(update={"inputs": (asset,)})

    page = tab.page
    key_or_none(page)
    page.goto(f"{server}/studio/jobs/{done.id}")
    until(page, "document.querySelector('video[aria-label=Result]')?.readyState >= 2")
    choice = page.get_by_label("Captions")
    choice.locator("option").nth(3).wait_for(state="attached")  # they are read after the video can be played
    assert choice.locator("option").all_inner_texts() == [
        "off",
        "lines.srt",
        "transcript: hello.vtt",
        "spoken text (estimated times)",
    ]
    assert page.evaluate(CUES) == []
    page.get_by_label("Position in seconds").fill("0.4")
    for option, first, second in (
        ("transcript: hello.vtt", "Good morning.", "Second line."),
        ("lines.srt", "From an SRT file.", "From an SRT file."),
        ("spoken text (estimated times)", "First sentence.", "And a second one."),
    ):
        choice.select_option(label=option)
        for position, text in ((0.4, first), (1.5, second)):
            page.get_by_label("Position in seconds").fill(str(position))
            until(page, f"({CUES}).join() === {json.dumps(text)}")
    choice.select_option(label="off")
    until(page, f"({CUES}).length === 0")
    assert page.locator("video[aria-label=Result] track").count() == 0


@pytest.fixture(params=["open", "key"])
def key_or_none(request):
    """Enter a key of the whole API, in the run with keys."""
    if request.param == "open":
        return lambda page: None
    headers = request.getfixturevalue("issue")("tester")
    key = headers["Authorization"].removeprefix("Bearer ")
    return lambda page: page.add_init_script(f"sessionStorage.setItem('musetalk.api_key', {json.dumps(key)})")


def test_avatars_show_the_face_the_size_and_the_cache(server, tab):
    known, former = "a" * 64, "b" * 64
    artefact_cache().get_or_create(
        "avatar", known, lambda folder: (folder / "boxes.npy").write_bytes(b"boxes")
    )
    artefact_cache().release()
    save_note(avatar_note(known, bytes=2_300_000), None, small_picture(PHOTO, 64))
    save_note(avatar_note(former, source="former.mp4"), None)
    page = tab.page
    page.goto(f"{server}/studio/avatars")
    until(page, "document.querySelector('img.face-thumb')?.naturalWidth === 64")
    card = page.locator(".avatar", has_text="anna.mp4")
    card.get_by_text("yes", exact=True).wait_for()
    assert "2.3 MB" in card.inner_text()
    other = page.locator(".avatar", has_text="former.mp4")
    assert "unknown" in other.inner_text() and other.locator("img").count() == 0
    card.get_by_role("button", name="Delete").click()
    card.get_by_role("button", name="Delete now").click()
    until(page, "document.querySelectorAll('.avatar').length === 1")
    assert not artefact_cache().exists("avatar", known)
