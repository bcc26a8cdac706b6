"""Records of jobs in the studio: rows, steps, webhooks, lineage, address in Prefect and path in S3."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from lineages import lineage_of
from studio_tab import until
from verify_results import RESULT, checked_manifest

from api.dependencies import get_delivery_store
from api.orchestrator.webhooks import Attempt, Delivery
from flows.prefect_state.status import JobError
from flows.schemas.control import Control, Notify
from tasks.settings import get_settings

NOW = datetime.now(UTC)


class MadeUpDeliveries:
    """A dead letter, and what was replayed."""

    def __init__(self):
        self.replayed = []

    async def list_for_job(self, job_id):
        attempts = [Attempt(1, NOW, NOW, 503, "refused", "Busy <b>", replay=False)]
        attempts += [Attempt(2, NOW, NOW, 204, "delivered", None, replay=True) for _ in self.replayed]
        return [Delivery("msg_1", "completed", bool(self.replayed), not self.replayed, None, attempts)]

    async def replay(self, job_id, webhook_id):
        self.replayed.append((job_id, webhook_id))
        return Attempt(2, NOW, None, None, "scheduled", None, replay=True)


@pytest.fixture
def deliveries(app_of_server):
    fake = MadeUpDeliveries()
    app_of_server.dependency_overrides[get_delivery_store] = lambda: fake
    return fake


def test_a_dead_letter_is_sent_again(server, runs, finished, deliveries, tab):
    run = finished()
    control = Control(notify=Notify(url="https://example.com/hook", events=["completed"]))
    runs.jobs[run.id] = replace(run, control=control)
    page = tab.page
    page.goto(f"{server}/studio/jobs/{run.id}")
    page.get_by_text("Webhook deliveries").click()
    page.get_by_text("dead letter").wait_for()
    assert "refused 503" in page.locator(".delivery").inner_text()
    page.get_by_role("button", name="Send again").click()
    page.locator(".delivery", has_text="attempt 2: delivered 204").wait_for()
    assert deliveries.replayed == [(run.id, "msg_1")] and page.get_by_text("dead letter").count() == 0


def test_rows_of_a_batch_have_state_result_and_reason(server, runs, finish, holding, app_of_server, tab):
    from api.dependencies import get_job_suspender

    app_of_server.dependency_overrides[get_job_suspender] = lambda: holding
    row = {"video": "s3://media/a.mp4", "audio": "s3://media/b.wav"}
    parameters = {"job_type": "lip_sync", "rows": [row]}
    batch = runs.add(type="batch", status="running", parameters=parameters)
    for name, status in (("row-ok", "succeeded"), ("row-bad", "failed"), ("row-waits", "queued")):
        row = runs.add(part_of=batch.id, part=name, status=status)
        row = finish(row, content=b"video of row-ok") if status == "succeeded" else row
        bad = JobError("no_face", "No frame shows a face.", False) if status == "failed" else None
        runs.jobs[row.id] = replace(row, error=bad)
    page = tab.page
    page.goto(f"{server}/studio/jobs/{batch.id}")
    row = page.locator(".children tbody tr")
    row.nth(2).wait_for()
    assert page.locator("tr", has_text="row-bad").inner_text().count("No frame shows a face.") == 1
    with page.expect_download() as download:
        page.locator("tr", has_text="row-ok").get_by_role("button", name="Download").click()
    assert Path(download.value.path()).read_bytes() == b"video of row-ok"
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").wait_for()
    page.get_by_label("Show").select_option("failed")
    until(page, "document.querySelectorAll('.children tbody tr').length === 1")

    table = finish(batch, name="results.csv", content=b"id,status\nrow-ok,succeeded\n")
    result = {"total": 3, "succeeded": 1, "failed": 1, "canceled": 0, "invalid": 1, "name": "results.csv"}
    invalid = {"row": 3, "id": "row-x", "job": None, "status": "invalid", "message": None}
    fault = {"pointer": "#/audio", "code": "invalid_input", "detail": "Field required"}
    problems = [invalid | {"faults": [fault]}]
    files = {"results.csv": table.result["video"]}
    runs.jobs[batch.id] = replace(
        batch, status="succeeded", result=result | {"problems": problems, "files": files}
    )
    page.reload()
    page.get_by_text("1 row did not succeed").wait_for()
    assert "#/audio: Field required" in page.locator(".children").inner_text()
    with page.expect_download() as download:
        page.locator(".job-head").get_by_role("button", name="Download").click()
    assert Path(download.value.path()).read_bytes() == b"id,status\nrow-ok,succeeded\n"
    page.get_by_role("button", name="Retry failed rows").click()
    page.wait_for_url(lambda address: "/studio/jobs/" in address and str(batch.id) not in address)
    assert [one.retry_of for one in runs.jobs.values() if one.retry_of] == [batch.id]


def test_steps_of_a_pipeline_stand_right_of_those_they_use(server, runs, tab):
    steps = [
        {"name": "final", "type": "caption", "job": {"video": "job://talk", "captions": "job://words"}},
        {"name": "speak", "type": "speech", "job": {"text": "Good morning."}},
        {"name": "talk", "type": "lip_sync", "job": {"audio": "job://speak"}},
        {"name": "words", "type": "transcribe", "job": {"audio": "job://speak"}},
    ]
    pipeline = runs.add(type="pipeline", status="running", parameters={"steps": steps})
    runs.add(type="speech", part_of=pipeline.id, part="speak", status="succeeded")
    tab.page.goto(f"{server}/studio/jobs/{pipeline.id}")
    tab.page.locator(".node", has_text="speak").get_by_text("Succeeded").wait_for()
    left = {
        name: tab.page.locator(".node", has=tab.page.get_by_text(name, exact=True)).first.bounding_box()["x"]
        for name in ("speak", "talk", "words", "final")
    }
    assert left["speak"] < left["talk"] == left["words"] < left["final"]


def test_prefect_lineage_and_the_path_in_s3(server, runs, records, finished, tab, browser):
    run, earlier = finished(), uuid4()
    stored = run.result["video"] | {"uri": "s3://clients/results/anna_hello.mp4"}
    address = "http://127.0.0.1:4200/runs/flow-run/17"
    runs.jobs[run.id] = replace(run, result=run.result | {"video": stored}, run_url=address)
    records.lineages[run.id] = lineage_of(run.id, earlier)
    records.lineages[earlier] = lineage_of(earlier)
    page = tab.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{server}/studio/jobs/{run.id}")
    link = page.get_by_role("link", name="Prefect run")
    link.wait_for()
    assert link.get_attribute("href") == address
    page.get_by_role("button", name="Copy S3 path").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "s3://clients/results/anna_hello.mp4"
    page.get_by_text("Provenance and lineage").click()
    page.locator(".lineage").get_by_role("link", name="x.mp3").click()
    page.wait_for_url(f"**/studio/jobs/{earlier}")


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", None])
def test_only_web_addresses_of_prefect_become_links(server, runs, tab, address):
    run = runs.running()
    runs.jobs[run.id] = replace(run, run_url=address)
    tab.page.goto(f"{server}/studio/jobs/{run.id}")
    tab.page.locator("h1").wait_for()
    assert tab.page.get_by_role("link", name="Prefect run").count() == 0


def test_a_verified_file_tells_its_mark_and_the_chain_that_made_it(server, runs, tab):
    part = {"found": True, "score": 31.0, "false_alarm_bound": 1e-9}
    mark = {"found": True, "key": "a1", "picture": part, "sound": part | {"found": False}}
    checked = {"state": "valid", "manifest": checked_manifest("video", 3), "mark": mark, "found": []}
    job = runs.add(type="verify", status="succeeded", result=RESULT | checked, name="verify: anna.mp4 (7c)")
    tab.page.goto(f"{server}/studio/jobs/{job.id}")

    tab.page.get_by_text("Unchanged, and signed by a trusted signer").wait_for()
    tab.page.get_by_text("The picture carries the imperceptible mark of this system.").wait_for()
    tab.page.get_by_text("anna.mp4", exact=True).wait_for()
    assert tab.page.locator(".ingredients").count() == 4, "a list in a list for each manifest below"
    made_by = checked["manifest"]["facts"]["job"]
    assert tab.page.locator(f"a[href='/studio/jobs/{made_by}']").count() == 1


def test_the_form_says_what_an_engine_lacks_and_how_to_install_it(server, environment, tab):
    environment.setenv("MUSETALK_API__MODELS_HERE", "true")
    get_settings.cache_clear()
    page = tab.page
    page.goto(f"{server}/studio/new")
    page.get_by_text("On this installation auto is viseme.").wait_for()
    page.get_by_label("Engine engine").select_option("musetalk")
    note = page.locator(".notice-warning", has_text="weights pull musetalk")
    note.wait_for()
    page.get_by_label("Engine engine").select_option("viseme")
    note.wait_for(state="detached")
