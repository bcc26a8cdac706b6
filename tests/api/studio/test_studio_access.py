"""The studio for everybody: accessibility rules, keyboard alone, narrow screens, hostile text, few scopes."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from avatar_examples import avatar_note
from lineages import lineage_of
from small_media import write_video
from studio_tab import policy_reports, studio_tab, until
from verify_results import RESULT, checked_manifest

from api.jobs.model import LogLine
from api.orchestrator.workers import WorkerProcess, WorkerState
from flows.prefect_state.status import JobError, Progress
from tasks.catalog.avatar_notes import AvatarNote, save_note
from tasks.settings import get_settings

ASSETS = Path(__file__).resolve().parents[2] / "assets"
PHOTO, SPEECH = ASSETS / "astronaut.jpg", next(ASSETS.glob("sense*0870.wav"))
AXE = (ASSETS / "axe" / "axe.min.js").read_text()
RUN_AXE = """async rules => (await axe.run(document, rules)).violations.map(one =>
  `${one.id} (${one.impact}): ${one.nodes.slice(0, 3).map(node => node.html.slice(0, 200)).join(" | ")}`)"""
OVERFLOW = """document.documentElement.scrollWidth <= innerWidth ? []
  : [...document.querySelectorAll("body *")].filter(one => one.getBoundingClientRect().right > innerWidth)
    .map(one => `${one.tagName}.${one.className}`).slice(0, 20)"""
TAKEN = "document.title='taken'"
HOSTILE = f'"><img src=x onerror="{TAKEN}"><script>{TAKEN}</script>\'\u202egnp.exe\u2066 🎭 &amp;'
FILE = "'><img src=x onerror=1> \u202egnp 🎭"
LONG = HOSTILE + "A" * 10_000
PARTS = [("speak", "speech"), ("talk", "lip_sync"), ("captions", "transcribe")]


@pytest.fixture
def population(runs, finish, finished, records, tmp_path):
    """Jobs of every kind with text that others chose; gives the addresses of all views."""
    video = write_video(tmp_path / "made.mp4").read_bytes()
    known = {
        "name": f"lip_sync: {LONG} (1f0c9d2e)",
        "metadata": {"order": LONG[:500]},
        "tags": ("campaign:spring",),
        "created": datetime.now(UTC),
    }
    done = finished(
        content=video,
        fps="25",
        engine=HOSTILE,
        warnings=[f"several_faces: {LONG}"],
        timings_s={"render": 2.0},
    )
    figure = {"value": 0.4, "unit": "H", "limit": 0.6, "grade": 0.3}
    figures = {"amplitude": figure, HOSTILE: figure, "aperture": figure | {"limit": None, "grade": None}}
    card = {"score": 0.3, "defects": ["amplitude"], "figures": figures, "frames": 75, "with_face": 75}
    done.result["quality"] = card | {"speech": "phonemes"}
    runs.jobs[done.id] = replace(done, **known, parameters={"video": "asset://" + "0" * 32, "audio": HOSTILE})
    lineage = lineage_of(done.id, uuid4())
    hostile = lineage.inputs[0].model_copy(update={"name": LONG, "given": HOSTILE})
    records.lineages[done.id] = lineage.model_copy(update={"inputs": (hostile,)})
    process = WorkerProcess(0, "cpu", "busy", uuid4(), (LONG,), 10**9, 0, 3, 0)
    records.workers = [WorkerState(HOSTILE, "gpu", True, datetime.now(UTC), datetime.now(UTC), (process,))]
    failed = runs.add(status="failed", error=JobError(HOSTILE[:60], LONG, True), **known)
    running = runs.running()
    runs.jobs[running.id] = replace(running, **known)
    runs.lines[running.id] = [LogLine(UUID(int=1), datetime.now(UTC), 30, LONG)]
    batch = runs.add(type="batch", status="running", progress=Progress(10.0, "steps", 1, 9), **known)
    runs.add(part_of=batch.id, part=LONG[:250], status="failed", error=JobError("no_face", LONG, False))
    steps = [{"name": name, "type": kind, "job": {}} for name, kind in PARTS]
    steps[1]["job"] = {"audio": "job://speak", "video": HOSTILE}
    pipeline = runs.add(type="pipeline", status="running", parameters={"steps": steps}, **known)
    runs.add(part_of=pipeline.id, part="speak", type="speech", status="running")
    note = {
        "engine": "viseme",
        "sha256": "0" * 64,
        "width": 9,
        "height": 9,
        "fps": "25",
        "frames": 9,
        "with_face": 9,
    }
    save_note(AvatarNote(avatar="a" * 64, source=LONG, is_still=False, **note), None)
    found = [RESULT["found"][0] | {"name": LONG}]
    checked = RESULT | {"state": "altered", "manifest": checked_manifest(LONG, 3), "found": found}
    checked |= {
        "problems": [HOSTILE],
        "mark": {"found": True, "key": HOSTILE, "picture": None, "sound": None},
    }
    verified = runs.add(type="verify", status="succeeded", result=checked, **known)
    sound = finish(runs.add(type="speech", **known), name=f"{FILE}.wav", content=SPEECH.read_bytes())
    picture = finish(runs.add(type="analyze", **known), name=f"{FILE}.jpg", content=PHOTO.read_bytes())
    picture.result["answer"] = LONG
    texts = finish(runs.add(type="transcribe", **known), name=f"{FILE}.srt", content=LONG.encode())
    texts = replace(texts, result={"files": {f"{FILE}.srt": texts.result["video"]}, "text": LONG})
    runs.jobs |= {one.id: one for one in (sound, picture, texts)}
    canceled = runs.add(type="portrait", status="canceled", **known)
    jobs = [done, failed, running, batch, pipeline, verified, sound, picture, texts, canceled]
    return [
        *("/studio/new", "/studio/new?type=portrait", "/studio/new?type=analyze", "/studio/new?type=batch"),
        *("/studio/jobs", f"/studio/new?type=lip_sync&from={done.id}"),
        *(f"/studio/jobs/{job.id}" for job in jobs),
        *("/studio/avatars", "/studio/system", "/studio/settings", "/studio/nothing"),
    ]


def visit(page, address):
    """Open a view with all its folded parts, and wait until nothing loads."""
    page.goto(address)
    page.locator("h1").wait_for()
    until(page, "document.querySelectorAll('.loading').length === 0")
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.wait_for_timeout(50)
    until(page, "document.querySelectorAll('.loading').length === 0")


def test_no_view_breaks_an_accessibility_rule_in_light_or_dark(server, browser, population, tmp_path):
    found = []
    with studio_tab(browser, tmp_path, color_scheme="light", reduced_motion="reduce") as tab:
        for address in population:
            tab.page.emulate_media(color_scheme="light")
            visit(tab.page, server + address)
            tab.page.evaluate(AXE)
            found += [f"{address}: {one}" for one in tab.page.evaluate(RUN_AXE, {})]
            tab.page.emulate_media(color_scheme="dark")
            until(tab.page, "document.documentElement.dataset.theme === 'dark'")
            found += [f"{address}, dark: {one}" for one in tab.page.evaluate(RUN_AXE, {})]

    assert found == []


def test_text_of_others_is_text_in_every_view(server, app_of_server, browser, population, tmp_path):
    dialogs, shown = [], []
    with studio_tab(browser, tmp_path) as tab:
        page = tab.page
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        for address in population:
            visit(page, server + address)
            assert page.locator("main script, img[src=x], main [onerror]").count() == 0
            shown += [address] if f"<script>{TAKEN}" in page.locator("main").inner_text() else []
            for width in (1440, 390):
                page.set_viewport_size({"width": width, "height": 844})
                assert page.evaluate(OVERFLOW) == [], (address, width)
                tab.shot(f"{width}-{address.strip('/').replace('/', '-').replace('?', '-')[:40]}")
            assert "taken" not in page.title()

    assert policy_reports(app_of_server) == 0, "the report endpoint stays empty"
    assert dialogs == [] and len(shown) >= 7, shown  # jobs, avatars, system, and the jobs themselves


def test_a_job_is_submitted_by_keyboard_alone(server, browser, runs, tmp_path):
    with studio_tab(browser, tmp_path) as tab:
        page = tab.page
        page.goto(f"{server}/studio/new")
        page.locator("#field-video").wait_for(state="attached")

        def tab_to(selector):
            for _ in range(60):
                page.keyboard.press("Tab")
                if page.evaluate("chosen => document.activeElement.matches(chosen)", selector):
                    return
            raise AssertionError(f"{selector} is not reached")

        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to content"
        page.keyboard.press("Enter")
        tab_to("input[name=job-type]")
        for _ in range(2):  # lip-sync, portrait, speech
            page.keyboard.press("ArrowDown")
            page.wait_for_timeout(300)
            tab_to("input[name=job-type]") if page.evaluate(
                "document.activeElement === document.body"
            ) else None
        page.locator("#field-text").wait_for()
        tab_to("#field-text")
        page.keyboard.type("Good morning.")
        tab_to(".side .button.primary")
        page.keyboard.press("Enter")
        page.wait_for_url("**/studio/jobs/*")
        until(page, "document.activeElement.tagName === 'MAIN'")

    [run] = runs.jobs.values()
    assert run.type == "speech" and run.parameters == {"text": "Good morning."}


@pytest.fixture
def reader(issue):
    """Enter a key that may only read."""
    key = issue("reader", scopes=frozenset({"read"}))["Authorization"].removeprefix("Bearer ")
    return f"sessionStorage.setItem('musetalk.api_key', '{key}')"


def test_a_key_without_the_scope_sees_why_an_action_is_not_offered(
    issue, reader, server, browser, runs, finished, environment, tmp_path
):
    environment.setenv("MUSETALK_API__MODELS_HERE", "true")
    get_settings.cache_clear()
    running, failed = runs.running(), runs.failed()
    done = finished()
    runs.jobs[done.id] = replace(done, type="batch", result=done.result | {"failed": 1, "problems": []})
    save_note(avatar_note("a" * 64), None)
    offered = {
        f"/studio/jobs/{running.id}": [("Cancel", "cancel")],
        f"/studio/jobs/{failed.id}": [("Retry", "submit")],
        f"/studio/jobs/{done.id}": [("Retry failed rows", "submit")],
        "/studio/new": [("Check", "submit"), ("Run", "submit")],
        "/studio/avatars": [("Delete", "cancel")],
        "/studio/system": [("Download csm-1b", "admin")],
    }
    with studio_tab(browser, tmp_path) as tab:
        tab.page.add_init_script(reader)
        for address, actions in offered.items():
            tab.page.goto(server + address)
            if address == "/studio/system":
                tab.page.get_by_text("other models that can be installed").click()
            for name, scope in actions:
                withheld = tab.page.locator(".withheld", has=tab.page.get_by_role("button", name=name))
                withheld.first.wait_for()
                assert withheld.first.locator("button").is_disabled(), name
                assert withheld.first.locator("code").inner_text() == scope
        posted = [one for one in tab.asked if "cancel" in one or "retry" in one]

    assert posted == []


def test_settings_say_what_a_key_may_do(issue, server, browser, tmp_path):
    key = issue("reader", scopes=frozenset({"read"}), tenant="acme")["Authorization"].removeprefix("Bearer ")
    with studio_tab(browser, tmp_path) as tab:
        tab.page.goto(f"{server}/studio/settings")
        tab.page.get_by_label("Key").fill(key)
        tab.page.get_by_role("button", name="Save and test").click()
        tab.page.get_by_text("accepts this key").wait_for()
        text = tab.page.locator(".notice-good").inner_text()
        assert "acme" in text and "read" in text and "submit" not in text and "never" in text
        tab.page.get_by_label("Key").fill("mk_wrong")
        tab.page.get_by_role("button", name="Save and test").click()
        tab.page.locator(".notice-error").wait_for()


def test_motion_is_reduced_where_the_system_asks_for_it(server, browser, tmp_path):
    with studio_tab(browser, tmp_path, reduced_motion="reduce") as tab:
        tab.page.goto(f"{server}/studio/new")
        tab.page.locator(".button").first.wait_for()
        durations = tab.page.evaluate(
            "[...document.querySelectorAll('*')].map(one => getComputedStyle(one))"
            ".filter(one => parseFloat(one.transitionDuration) || parseFloat(one.animationDuration)).length"
        )

    assert durations == 0
