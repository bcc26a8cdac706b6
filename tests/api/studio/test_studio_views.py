"""Every view with ordinary data at two widths in both themes: nothing overflows; screenshots to look at."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import cv2
import pytest
from avatar_examples import avatar_note
from lineages import lineage_of
from small_media import write_video
from studio_tab import studio_tab, until
from verify_results import RESULT, checked_manifest

from api.dependencies import get_delivery_store
from api.jobs.eta import Eta
from api.jobs.model import LogLine
from api.orchestrator.thumbnails import Thumbnail
from api.orchestrator.webhooks import Attempt, Delivery
from api.orchestrator.workers import WorkerProcess, WorkerState
from flows.prefect_state.status import JobError, Progress
from flows.schemas.control import Control, Notify
from tasks.cache.artefacts import artefact_cache
from tasks.catalog.avatar_notes import save_note
from tasks.catalog.preview_frames import write_preview_frame

ASSETS = Path(__file__).resolve().parents[2] / "assets"
PHOTO, SPEECH = ASSETS / "astronaut.jpg", next(ASSETS.glob("sense*0870.wav"))
OVERFLOW = """document.documentElement.scrollWidth <= innerWidth ? []
  : [...document.querySelectorAll("body *")].filter(one => one.getBoundingClientRect().right > innerWidth)
    .map(one => `${one.tagName}.${one.className}`).slice(0, 20)"""
SMALL_TARGETS = """[...document.querySelectorAll('main button, main a.button, main select, main input')]
  .map(one => [one, one.getBoundingClientRect()])
  .filter(([one, box]) => box.width && one.type !== 'file' && (box.height < 24 || box.width < 24))
  .filter(([one]) => !['radio', 'checkbox', 'range'].includes(one.type) && !one.matches('.link, .face'))
  .map(([one, box]) => `${one.outerHTML.slice(0, 80)} ${box.width}x${box.height}`)"""
NOW = datetime.now(UTC)


def photo(width):
    picture = cv2.resize(cv2.imread(str(PHOTO)), (width, width))
    return cv2.imencode(".jpg", picture)[1].tobytes()


def made(runs, run, *, ago_s=600, took_s=42, **fields):
    """Complete a job with times as a job system gives them."""
    started = NOW - timedelta(seconds=ago_s)
    times = {"created": started - timedelta(seconds=2), "started": started}
    ended = {"ended": started + timedelta(seconds=took_s)} if "progress" not in fields else {}
    runs.jobs[run.id] = replace(run, **(times | ended | fields))
    return runs.jobs[run.id]


class MadeUpDeliveries:
    """A webhook that arrived at the second attempt."""

    async def list_for_job(self, job_id):
        sent = NOW - timedelta(minutes=5)
        refused = Attempt(1, sent, sent, 503, "refused", "Busy", replay=False)
        arrived = replace(refused, number=2, status_code=204, outcome="delivered", reason=None)
        return [Delivery("msg_1", "completed", True, False, None, (refused, arrived))]


def results_of_other_types(runs, finish):
    """Jobs whose results are a sound, texts, a picture, and the statements of a manifest."""
    spoken = finish(runs.add(type="speech"), name="speech.wav", content=SPEECH.read_bytes(), voice="hibari")
    text = "1\n00:00:00,000 --> 00:00:02,500\nMy mother bought five big blue balloons.\n"
    heard = finish(runs.add(type="transcribe"), name="hello.srt", content=text.encode())
    file = heard.result["video"]
    heard = replace(heard, result={"files": {"hello.srt": file}, "text": "My mother.", "language": "en"})
    drawn = finish(runs.add(type="analyze"), name="desk.jpg", content=photo(320))
    drawn.result["answer"] = "An astronaut before a flag."
    mark = {"found": True, "score": 31.0, "false_alarm_bound": 1e-9}
    checked = RESULT | {"state": "unknown_signer", "manifest": checked_manifest("anna.mp4", 2)}
    checked |= {"mark": {"found": True, "key": "a1", "picture": mark, "sound": mark | {"found": False}}}
    verified = replace(runs.add(type="verify"), status="succeeded", result=checked)
    return [made(runs, one) for one in (spoken, heard, drawn, verified)]


@pytest.fixture
def views(runs, records, finish, server, app_of_server, tmp_path):
    """Ordinary jobs of every kind; gives a name and an address for each view."""
    app_of_server.dependency_overrides[get_delivery_store] = lambda: MadeUpDeliveries()
    video = write_video(tmp_path / "made.mp4", size=320).read_bytes()
    figures = {
        "amplitude": {"value": 0.82, "unit": "", "limit": 0.6, "grade": 0.91},
        "sharpness": {"value": 0.41, "unit": "", "limit": 0.6, "grade": 0.34},
        "lag": {"value": 0.0, "unit": "frames", "limit": 2.0, "grade": 1.0},
    }
    card = {"score": 0.34, "defects": ["sharpness"], "figures": figures, "frames": 75, "with_face": 75}
    done = finish(
        runs.add(type="lip_sync"),
        name="anna_hello.mp4",
        content=video,
        fps="25",
        engine="viseme",
        width=1280,
        height=720,
        frames=178,
        duration_s=7.12,
        speech_s=7.1,
        phones="recognised",
        faces={"frames": 50, "with_face": 50},
        cached=["prepare", "features"],
        timings_s={
            "fetch": 0.2,
            "prepare": 6.1,
            "features": 2.2,
            "render": 12.4,
            "encode": 9.1,
            "upload": 0.1,
        },
        warnings=["low_resolution: The face is 96 pixels wide; 128 or more give a sharper mouth."],
        provenance={"manifest": "embedded", "signer": "musetalk-flows local", "sidecars": {}},
        quality=card | {"speech": "phonemes"},
    )
    control = Control(notify=Notify(url="https://example.com/hook", events=["completed"]))
    tags = ("campaign:spring", "customer:17")
    picture = {"video": "asset://" + "0" * 32, "audio": "asset://" + "1" * 32}
    done = made(runs, done, tags=tags, metadata={"order": "17"}, parameters=picture, control=control)
    named = "lip_sync: anna.mp4, hello.wav (2c91)"
    runs.jobs[done.id] = replace(done, name=named, run_url="http://127.0.0.1:4200/runs/flow-run/1")
    records.lineages[done.id] = lineage_of(done.id, uuid4())
    records.pictures[done.id] = Thumbnail(photo(200), "image/jpeg", "1")
    name = "lip_sync: A long name of a film about an astronaut.mp4, hello.wav (1f0c9d2e)"
    running = runs.add(type="lip_sync", status="running", name=name)
    running = made(
        runs, running, ago_s=20, progress=Progress(64.0, "render", 310, 500, 4), eta=Eta(14.0, 20.0)
    )
    write_preview_frame(running.id, photo(320))
    runs.lines[running.id] = [
        LogLine(uuid4(), NOW, 20, "Prepared anna.mp4: 50 frames, 50 with a face."),
        LogLine(uuid4(), NOW, 30, "low_resolution: The face is 96 pixels wide."),
    ]
    queued = runs.add(
        type="portrait",
        name="portrait: anna.jpg (7ac2)",
        status="queued",
        position=2,
        eta=Eta(40.0, 60.0),
        created=NOW,
    )
    text = "No frame shows a face. Use a picture of a face from the front."
    error = JobError("no_face", text, False)
    failed = made(runs, runs.add(type="lip_sync", status="failed"), error=error, ago_s=4000)
    canceled = made(runs, runs.add(type="speech", status="canceled"), ago_s=90_000)
    batch = runs.add(type="batch", status="running")
    batch = made(runs, batch, progress=Progress(40.0, "steps", 2, 5), tags=tags)
    for number, status in enumerate(("succeeded", "failed", "running", "queued")):
        row = runs.add(type="lip_sync", part_of=batch.id, part=f"row-{number}", status=status)
        row = finish(row, content=video) if status == "succeeded" else row
        made(runs, row, error=error if status == "failed" else None)
    steps = [
        {"name": "speak", "type": "speech", "job": {"text": "Good morning."}},
        {"name": "talk", "type": "lip_sync", "job": {"audio": "job://speak", "video": "asset://" + "0" * 32}},
        {"name": "captions", "type": "transcribe", "job": {"audio": "job://speak"}},
        {"name": "final", "type": "caption", "job": {"video": "job://talk", "captions": "job://captions"}},
    ]
    pipeline = runs.add(type="pipeline", status="running", parameters={"steps": steps})
    made(runs, pipeline, progress=Progress(50.0, "steps", 1, 4))
    runs.add(type="speech", part_of=pipeline.id, part="speak", status="succeeded")
    runs.add(type="lip_sync", part_of=pipeline.id, part="talk", status="running")
    others = results_of_other_types(runs, finish)
    models = ("face-mesh", "whisper-tiny.en")
    process = WorkerProcess(0, "cpu", "busy", running.id, models, 1_310_000_000, 0, 3, 0)
    idle = replace(process, number=1, state="idle", job=None, models=())
    records.workers = [WorkerState("studio-1", "gpu", True, NOW, NOW, (process, idle))]
    for number, name in (
        (1, "anna.mp4"),
        (2, "A long name of a film about the first astronaut, 17.mp4"),
    ):
        key = f"{number:064x}"
        artefact_cache().get_or_create("avatar", key, lambda folder: (folder / "a").write_bytes(b"a"))
        save_note(avatar_note(key, source=name, bytes=2_300_000), None, photo(160))
    artefact_cache().release()
    save_note(avatar_note("f" * 64, source="former.mp4", is_still=True), None)
    return {
        "new": "/studio/new",
        "new-portrait": "/studio/new?type=portrait",
        "new-batch": "/studio/new?type=batch",
        "jobs": "/studio/jobs",
        "jobs-none": "/studio/jobs?tag=nothing",
        "job-done": f"/studio/jobs/{done.id}",
        "job-running": f"/studio/jobs/{running.id}",
        "job-queued": f"/studio/jobs/{queued.id}",
        "job-failed": f"/studio/jobs/{failed.id}",
        "job-canceled": f"/studio/jobs/{canceled.id}",
        "job-batch": f"/studio/jobs/{batch.id}",
        "job-pipeline": f"/studio/jobs/{pipeline.id}",
        **{f"job-{one.type}": f"/studio/jobs/{one.id}" for one in others},
        "job-unknown": f"/studio/jobs/{uuid4()}",
        "avatars": "/studio/avatars",
        "system": "/studio/system",
        "settings": "/studio/settings",
        "missing": "/studio/nothing",
    }


def open_view(page, address):
    """Open a view with its records unfolded, and wait until nothing loads and pictures are there."""
    page.goto(address)
    page.locator("h1").wait_for()
    for _ in range(2):
        until(page, "document.querySelectorAll('.loading').length === 0")
        page.evaluate("document.querySelectorAll('.records details').forEach(one => one.open = true)")
        page.wait_for_timeout(150)
    until(page, "[...document.images].every(one => one.complete)")


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_no_view_overflows_or_has_tiny_targets(server, browser, views, tmp_path, width, scheme):
    found = []
    with studio_tab(browser, tmp_path, width=width, height=900, color_scheme=scheme) as tab:
        for name, address in views.items():
            open_view(tab.page, server + address)
            found += [(name, one) for one in tab.page.evaluate(OVERFLOW)]
            found += [(name, one) for one in tab.page.evaluate(SMALL_TARGETS)]
            tab.page.screenshot(path=tab.folder / f"view-{name}-{width}-{scheme}.png", full_page=True)

    assert found == []


REACHABLE = """[...document.querySelectorAll(
    'a[href], button, select, input, textarea, summary, [tabindex="0"]')]
  .filter(one => one.checkVisibility() && !one.disabled && one.tabIndex >= 0)
  .filter(one => one.type !== 'radio' || one.checked)
  .map((one, number) => { one.dataset.reach = number; return one.outerHTML.slice(0, 120); })"""
FOCUSED = """(() => { const one = document.activeElement, style = getComputedStyle(one);
  const parent = ['file', 'radio'].includes(one.type) || one.matches('main, audio');
  const shown = style.outlineStyle !== 'none' || parent;
  return [one.dataset.reach || null, shown, one.outerHTML.slice(0, 120)]; })()"""


def test_everything_is_reached_and_shown_by_keyboard_alone(server, browser, views, tmp_path):
    """Tab walks over every link, button and field of every view, and each shows that it has the focus."""
    lost, unseen = [], []
    with studio_tab(browser, tmp_path) as tab:
        page = tab.page
        for name, address in views.items():
            open_view(page, server + address)
            wanted = page.evaluate(REACHABLE)
            reached = set()
            for _ in range(len(wanted) + 15):  # the browser's sound player has stops of its own
                page.keyboard.press("Tab")
                number, shown, text = page.evaluate(FOCUSED)
                reached |= {int(number)} if number else set()
                unseen += [] if shown or text.startswith("<body") else [(name, text)]
            lost += [(name, wanted[one]) for one in range(len(wanted)) if one not in reached]

    assert lost == [] and unseen == []


EMPTY = {
    "/studio/jobs": ("No jobs yet", "New job"),
    "/studio/avatars": ("No avatars yet", "New job"),
    "/studio/system": ("No job runs or waits.", None),
}


@pytest.mark.parametrize("width", [1440, 390])
def test_an_empty_installation_says_what_to_do(server, records, browser, tmp_path, width):
    """Slow answers show that something loads; empty ones say so, and lead to the first job."""
    with studio_tab(browser, tmp_path, width=width, height=900) as tab:
        page = tab.page
        page.route("**/v1/**", lambda route: (page.wait_for_timeout(150), route.continue_()))
        for address, (sentence, link) in EMPTY.items():
            page.goto(server + address)
            page.locator(".loading").first.wait_for()
            page.get_by_text(sentence).wait_for()
            until(page, "document.querySelectorAll('.loading').length === 0")
            if link:
                assert page.locator(".empty").get_by_role("link", name=link).count() == 1
            assert page.evaluate(OVERFLOW) == []
            tab.page.screenshot(path=tab.folder / f"empty-{address.rpartition('/')[2]}-{width}.png")
        page.get_by_text("No worker is online. Jobs wait until one starts.").wait_for()
        page.unroute_all(behavior="ignoreErrors")  # an answer that still waits fails when the page is closed
