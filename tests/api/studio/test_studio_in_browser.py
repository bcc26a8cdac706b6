"""The studio in a real browser on the made-up job system: new job, check, run, watch, play, cancel."""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from small_media import write_video
from studio_tab import until

from api.jobs.eta import DurationStats, Eta
from api.orchestrator.thumbnails import Thumbnail
from api.orchestrator.workers import WorkerProcess, WorkerState
from api.routes.installation.model_pulls import ModelPulls
from flows.prefect_state.status import JobError, Progress
from tasks.settings import get_settings

ASSETS = Path(__file__).resolve().parents[2] / "assets"
PHOTO, SPEECH = ASSETS / "astronaut.jpg", next(ASSETS.glob("sense*0870.wav"))
CENTRE = """video => {
  const canvas = document.createElement("canvas"); canvas.width = canvas.height = 64;
  const context = canvas.getContext("2d"); context.drawImage(video, 0, 0, 64, 64);
  return Array.from(context.getImageData(0, 0, 64, 64).data).join();
}"""


@pytest.fixture
def progress(runs):
    """Move a job on, as the job system would."""

    def move(run, **changes):
        runs.jobs[run.id] = replace(runs.jobs[run.id], **changes)

    return move


def only_job(runs):
    [run] = runs.jobs.values()
    return run


def fill_lip_sync(page):
    page.locator("#field-video").set_input_files(PHOTO)
    page.locator("#field-audio").set_input_files(SPEECH)
    page.get_by_text("· uploaded").nth(1).wait_for()


def test_from_two_files_to_a_playing_video(server, runs, tab, finish, tmp_path, progress):
    page, runs.took = tab.page, DurationStats(30.0, 40.0, 3)
    page.goto(server)
    fill_lip_sync(page)
    assert page.locator("img.thumbnail").evaluate("one => one.naturalWidth") == 512
    page.get_by_role("img", name="Waveform of 7.1 s of sound").wait_for()

    page.get_by_role("button", name="Check").click()
    page.get_by_text("This job can run").wait_for()
    assert page.get_by_text(PHOTO.name).count() == 2 and page.locator(".facts").inner_text().startswith(
        "Place"
    )
    assert runs.jobs == {}

    page.get_by_role("button", name="Run").click()
    page.wait_for_url("**/studio/jobs/*")
    run = only_job(runs)
    assert run.type == "lip_sync" and set(run.parameters) == {"video", "audio"}
    page.get_by_text("Queued").first.wait_for()
    started = datetime.now(UTC)
    progress(
        run, status="running", started=started, progress=Progress(40.0, "render", 30, 100), eta=Eta(9.0, 20.0)
    )
    page.get_by_text("30 of 100 frames").wait_for()
    assert page.locator("[aria-current=step]").inner_text() == "render"
    assert "left" in page.locator(".progress-text").inner_text()

    page.reload()
    page.get_by_text("30 of 100 frames").wait_for()
    video = write_video(tmp_path / "video.mp4").read_bytes()
    runs.jobs[run.id] = replace(
        finish(
            runs.jobs[run.id],
            content=video,
            fps="25",
            engine="viseme",
            timings_s={"render": 3.0, "fetch": 0.2},
        ),
        ended=started + timedelta(seconds=5),
    )
    page.locator(".status-succeeded").wait_for()
    player = page.locator("video[aria-label=Result]")
    player.evaluate("one => one.readyState >= 2 || new Promise(done => one.onloadeddata = done)")
    before = player.evaluate(CENTRE)
    page.get_by_role("button", name="Play").click()
    until(page, "document.querySelector('video[aria-label=Result]').currentTime > 0.8")
    assert player.evaluate(CENTRE) != before
    # after the reload the source comes from the server
    assert page.locator("img[alt=Source]").evaluate("one => one.naturalWidth") == 512

    with page.expect_download() as download:
        page.locator(".job-head").get_by_role("button", name="Download").click()
    assert Path(download.value.path()).read_bytes() == video
    tab.shot("studio-job")


def test_a_frame_step_moves_both_videos_by_one_frame(server, runs, tab, finish, tmp_path):
    source = write_video(tmp_path / "source.mp4", seconds=1.0, tint=60)
    page = tab.page
    page.goto(f"{server}/studio/new?type=lip_sync")
    page.locator("#field-video").set_input_files(source)
    page.locator("#field-audio").set_input_files(SPEECH)
    page.get_by_text("· uploaded").nth(1).wait_for()
    runs.on_create = lambda run: finish(
        run, content=write_video(tmp_path / "made.mp4").read_bytes(), fps="25"
    )
    page.get_by_role("button", name="Run").click()
    page.locator("video[aria-label=Source]").wait_for()
    times = "name => document.querySelector(`video[aria-label=${name}]`).currentTime"
    until(page, "document.querySelector('video[aria-label=Source]').readyState >= 2")

    for _ in range(3):
        page.get_by_role("button", name="+1 frame").click()
    until(page, "Math.abs(document.querySelector('video[aria-label=Source]').currentTime - 0.14) < 0.001")
    assert page.evaluate(times, "Result") == pytest.approx(0.14, abs=0.001)

    page.get_by_label("Position in seconds").fill("1.5")  # the source of 1 s plays backwards by then
    until(page, "Math.abs(document.querySelector('video[aria-label=Source]').currentTime - 0.5) < 0.05")
    page.get_by_label("View side by side").select_option("slider")
    assert (
        page.locator(".stage-slider .stage-result").evaluate("one => getComputedStyle(one).clipPath")
        != "none"
    )


def test_a_text_and_a_photo_become_a_portrait_job(server, runs, tab):
    page = tab.page
    page.goto(f"{server}/studio/new")
    page.locator("#field-video").set_input_files(PHOTO)
    page.get_by_text("· uploaded").wait_for()
    page.get_by_label("Portrait").check()  # the photo stays chosen
    page.get_by_label("Text text").fill("Good morning.")
    page.get_by_text("Voice", exact=True).click()
    page.get_by_label("Speed speed").fill("1.2")
    page.get_by_text("· uploaded").wait_for()
    page.get_by_role("tab", name="JSON").click()
    shown = json.loads(page.locator(".code-block").inner_text())
    page.get_by_role("button", name="Run").click()
    page.wait_for_url("**/studio/jobs/*")

    assert only_job(runs).parameters == shown
    assert shown["text"] == "Good morning." and shown["voice"] == {"speed": 1.2}


def test_a_text_is_spoken_onto_a_video_by_a_pipeline(server, runs, tab):
    page = tab.page
    page.goto(f"{server}/studio/new")
    page.get_by_label("Text", exact=True).check()
    page.get_by_role("button", name="Check").click()
    assert page.locator("[data-pointer='#/@spoken/text'] .fault").inner_text() == "This field is required."
    page.locator("#field-video").set_input_files(PHOTO)
    page.get_by_label("Text to speak").fill("Good morning.")
    page.get_by_text("· uploaded").wait_for()
    page.get_by_role("button", name="Run").click()
    page.wait_for_url("**/studio/jobs/*")

    speak, talk = only_job(runs).parameters["steps"]
    assert speak == {"name": "speak", "type": "speech", "job": {"text": "Good morning."}}
    assert talk["type"] == "lip_sync" and talk["job"]["audio"] == "job://speak"
    page.locator(".node").get_by_text("talk", exact=True).wait_for()
    page.get_by_role("link", name="Again with changes").click()
    assert page.get_by_label("Text to speak").input_value() == "Good morning."


def test_the_system_shows_workers_models_and_commands(server, runs, records, tab):
    run = runs.running()
    process = WorkerProcess(0, "cpu", "busy", run.id, ("whisper-tiny.en",), 1_300_000_000, 0, 3, 0)
    records.workers = [WorkerState("gpu-7", "gpu", True, datetime.now(UTC), datetime.now(UTC), (process,))]
    tab.page.goto(f"{server}/studio/system")
    row = tab.page.locator("tr", has_text="whisper-tiny.en").first
    row.get_by_role("link", name="busy").wait_for()
    assert "1.3 GB" in row.inner_text()
    tab.page.get_by_text("other models that can be installed").click()
    command = tab.page.locator("tr", has_text="MuseTalk 1.5").locator("code").inner_text()
    assert command.endswith("musetalk weights pull musetalk")


PULL = """
import pathlib, sys, time
print("unet.pth: 40 % of 3400 MB", flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.05)
print("unet.pth: pulled", flush=True)
"""


def test_a_model_is_downloaded_after_its_licence_is_accepted(
    server, app_of_server, environment, tab, tmp_path
):
    environment.setenv("MUSETALK_API__MODELS_HERE", "true")
    get_settings.cache_clear()
    app_of_server.state.model_pulls = ModelPulls([sys.executable, "-c", PULL, str(tmp_path / "end")])
    page = tab.page
    page.goto(f"{server}/studio/system")
    page.get_by_text("other models that can be installed").click()
    page.get_by_role("button", name="Download csm-1b").click()
    row = page.locator("tr", has_text="csm-1b").first
    assert "Licence: Apache-2.0" in row.inner_text() and app_of_server.state.model_pulls.current is None
    row.get_by_role("button", name="Accept and download").click()
    page.get_by_text("unet.pth").wait_for()
    assert page.get_by_label("Download of csm-1b").get_attribute("value") == "40"
    (tmp_path / "end").touch()
    page.get_by_text("Download of csm-1b: succeeded").wait_for()


def test_the_system_page_lists_the_transcription_engines_and_their_models(server, environment, tab, tmp_path):
    environment.setenv("MUSETALK_API__MODELS_HERE", "true")
    environment.setenv("MUSETALK_MODELS__TRANSCRIPTION", "ctranslate2")
    get_settings.cache_clear()
    page = tab.page
    page.goto(f"{server}/studio/system")
    rows = page.locator("h3:text('Transcription') + ul li")
    rows.first.wait_for()
    texts = {text.split("\n")[1].strip(): text for text in rows.all_inner_texts()}
    page.screenshot(path=tmp_path / "system.png", full_page=True)
    assert set(texts) == {"ctranslate2", "openai-whisper"}, texts
    assert "used for auto" in texts["ctranslate2"] and "used for auto" not in texts["openai-whisper"]
    assert all(text.startswith("Installed") for text in texts.values()), texts
    assert "models: whisper-tiny.en" in texts["ctranslate2"]
    assert "converts at the first use: whisper-tiny.en" in texts["openai-whisper"]


def test_a_non_commercial_licence_is_told_before_the_download(
    server, app_of_server, environment, tab, tmp_path
):
    environment.setenv("MUSETALK_API__MODELS_HERE", "true")
    get_settings.cache_clear()
    app_of_server.state.model_pulls = ModelPulls([sys.executable, "-c", PULL, str(tmp_path / "end")])
    page = tab.page
    page.goto(f"{server}/studio/system")
    page.get_by_text("other models that can be installed").click()
    row = page.locator("tr", has_text="CodeFormer").first
    assert "No commercial use" in row.inner_text()
    assert "No commercial use" not in page.locator("tr", has_text="GFPGAN").first.inner_text()
    page.get_by_role("button", name="Download codeformer").click()
    assert "This licence forbids commercial use." in row.inner_text()
    assert app_of_server.state.model_pulls.current is None
    row.get_by_role("button", name="Accept and download").click()
    page.get_by_label("Download of codeformer").wait_for()
    (tmp_path / "end").touch()
    page.get_by_text("Download of codeformer: succeeded").wait_for()


def test_the_list_shows_pages_pictures_and_filters(server, runs, records, finished, tab):
    made = [runs.failed() for _ in range(120)]
    done = finished()
    runs.jobs[done.id] = replace(done, tags=("campaign:spring",))
    records.pictures[done.id] = Thumbnail(PHOTO.read_bytes(), "image/jpeg", "1")
    page = tab.page
    page.goto(f"{server}/studio/jobs")
    until(page, "document.querySelector('.thumb img')?.naturalWidth === 512")
    assert page.locator("tbody tr").count() == 50
    page.get_by_role("link", name="Older").click()
    page.get_by_role("link", name="Newest").wait_for()
    page.get_by_role("link", name="Older").click()
    page.locator(f"a[href='/studio/jobs/{made[0].id}']").wait_for()
    assert page.locator("tbody tr").count() == 21
    page.get_by_label("Status").select_option("succeeded")
    until(page, "document.querySelectorAll('tbody tr').length === 1")
    page.get_by_label("Tag", exact=True).fill("campaign:autumn")
    page.keyboard.press("Enter")
    page.get_by_text("No job fits these filters").wait_for()
    page.goto(f"{server}/studio/jobs")
    name = "Präsentation (1).mp4, hello.wav"
    runs.jobs[made[7].id] = replace(made[7], name=f"lip_sync: {name} (1f0c9d2e)")
    page.get_by_label("File name").fill(" PRÄSENTATION (1) ")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('tbody tr').length === 1")
    page.locator(f"a[href='/studio/jobs/{made[7].id}']").wait_for()
    assert page.locator("tbody .row-name").inner_text() == name
    page.get_by_label("File name or job id").fill(str(made[3].id))
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/studio/jobs/{made[3].id}")


def test_without_a_server_the_page_says_so_and_recovers(server, runs, tab):
    run, page = runs.running(), tab.page
    page.goto(f"{server}/studio/jobs/{run.id}")
    page.get_by_text("30 of 100 frames").wait_for()
    page.goto(f"{server}/studio/jobs")
    page.locator("tbody tr").wait_for()
    page.route("**/v1/**", lambda route: route.abort())
    page.get_by_text("The server does not answer").first.wait_for()
    page.unroute("**/v1/**")
    until(page, "!document.body.innerText.includes('The server does not answer')")


@pytest.mark.parametrize("kind", ["photo", "video"])
def test_the_face_that_speaks_is_chosen_in_the_picture(server, runs, tab, tmp_path, kind):
    source = PHOTO if kind == "photo" else write_video(tmp_path / "two.mp4")
    faces = [
        {"label": "face", "box": [10, 20, 60, 70], "score": 0.9},
        {"label": "face", "box": [80, 20, 110, 60]},
    ]
    found = {"faces": faces, "width": 160, "height": 160}
    runs.on_create = lambda run: (
        replace(run, status="succeeded", result=found) if run.type == "analyze" else run
    )
    page = tab.page
    page.goto(f"{server}/studio/new")
    page.locator("#field-video").set_input_files(source)
    page.get_by_text("· uploaded").wait_for()
    page.get_by_role("button", name="Choose the face in the picture").click()
    page.get_by_role("button", name="Face 1").click()
    page.get_by_role("tab", name="JSON").click()
    _, right = page.evaluate("[...document.querySelectorAll('.face')].map(one => one.offsetLeft)")
    width = page.locator(".face-picture").evaluate("one => one.offsetWidth")

    assert json.loads(page.locator(".code-block").inner_text())["face"] == 1
    assert page.locator(".face[aria-pressed=true]").count() == 1 and right / width == pytest.approx(
        0.5, abs=0.02
    )
    assert page.locator("#field-face").input_value() == "#"
    asked = only_job(runs).parameters
    assert asked["features"] == ["faces"] and asked["image"].startswith("asset://")


def test_faults_are_shown_at_their_fields(server, runs, tab):
    page = tab.page
    page.goto(f"{server}/studio/new")
    page.get_by_role("button", name="Run").click()
    for name in ("video", "audio"):
        assert page.locator(f"[data-pointer='#/{name}'] .fault").inner_text() == "This field is required."
    assert page.evaluate("document.activeElement.id") == "field-video"

    fill_lip_sync(page)
    page.get_by_text("Encoding", exact=True).click()
    page.get_by_label("Quality (CRF)").fill("99")
    assert page.locator("[data-pointer='#/encode/crf'] .fault").inner_text() == "At most 40."
    page.get_by_label("Quality (CRF)").fill("20")
    page.get_by_role("button", name="Remove Speech").click()
    speech = page.locator("[data-pointer='#/audio']")
    speech.get_by_text("Use a reference instead").click()
    speech.get_by_label("Speech: media reference").fill(f"asset://{'0' * 32}")
    page.get_by_role("button", name="Check").click()  # leaves the field, and sends the request
    page.locator(".side .notice-error").wait_for()
    assert "There is no asset 000" in speech.locator(".fault").inner_text()
    assert runs.jobs == {}


def test_an_empty_file_shows_the_reason_at_its_place(server, tab, tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    tab.page.goto(f"{server}/studio/new")
    tab.page.locator("#field-video").set_input_files(tmp_path / "empty.mp4")

    assert "empty" in tab.page.locator("[data-pointer='#/video'] .fault").inner_text()


def test_a_job_is_canceled_and_two_tabs_agree(server, runs, tab):
    run = runs.running()
    tab.page.goto(f"{server}/studio/jobs/{run.id}")
    other = tab.page.context.new_page()
    other.goto(f"{server}/studio/jobs/{run.id}")
    other.get_by_text("Running").wait_for()
    tab.page.get_by_role("button", name="Cancel").click()

    for page in (tab.page, other):
        page.locator(".status-canceled").wait_for()
        assert page.get_by_role("button", name="Retry").is_visible()


def test_a_failed_job_says_why_and_is_submitted_again_with_changes(server, runs, tab):
    parameters = {"text": "Good morning.", "speed": 1.4}
    run = runs.add(
        type="speech",
        status="failed",
        error=JobError("no_face", "No frame shows a face.", False),
        parameters=parameters,
        tags=("campaign:spring",),
    )
    page = tab.page
    page.goto(f"{server}/studio/jobs/{run.id}")
    assert "No frame shows a face." in page.locator(".notice-error").inner_text()
    page.get_by_role("link", name="Again with changes").click()
    page.get_by_label("Text text").fill("Good evening.")
    page.get_by_role("button", name="Run").click()
    page.wait_for_url(lambda address: "/jobs/" in address and str(run.id) not in address)

    again = next(one for one in runs.jobs.values() if one.id != run.id)
    assert again.parameters == {"text": "Good evening.", "speed": 1.4} and again.tags == run.tags


def test_back_leads_to_the_view_before_and_unknown_addresses_say_so(server, runs, tab):
    run, page = runs.running(), tab.page
    page.goto(f"{server}/studio/jobs")
    page.locator("th").get_by_role("link", name="Lip-sync").click()
    page.wait_for_url(f"**/studio/jobs/{run.id}")
    page.go_back()
    page.get_by_role("heading", name="Jobs").wait_for()
    page.goto(f"{server}/studio/nothing")
    page.get_by_role("heading", name="Not found").wait_for()


def test_text_that_is_not_entered_yet_survives_a_refresh_of_the_list(server, runs, tab):
    first, page = runs.failed(), tab.page
    page.goto(f"{server}/studio/jobs")
    page.locator(f"a[href='/studio/jobs/{first.id}']").wait_for()
    page.get_by_label("File name").press_sequentially("pres")
    second = runs.failed()
    page.locator(f"a[href='/studio/jobs/{second.id}']").wait_for()
    page.get_by_label("File name").press_sequentially("entation ")
    page.keyboard.press("Enter")
    page.get_by_text("No job fits these filters").wait_for()
    assert page.evaluate("new URLSearchParams(location.search).get('search')") == "presentation"
    page.go_back()
    page.locator(f"a[href='/studio/jobs/{first.id}']").wait_for()
    assert page.get_by_label("File name").input_value() == ""


def test_a_number_with_a_zero_before_its_last_digit_can_be_typed(server, tab):
    page = tab.page
    page.goto(f"{server}/studio/new?type=speech")
    page.get_by_text("More options").click()
    field = page.locator("#field-temperature")
    field.press_sequentially("0.905")
    assert field.input_value() == "0.905"
    field.press("Backspace")
    assert field.input_value() == "0.90"
    assert '{"temperature":0.9}' in page.locator("pre.code-block").text_content()
