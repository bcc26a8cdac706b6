"""The preview page of a finished video, whose errors never fail the job."""

import base64
import re
import time
from uuid import uuid4
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from shown import artifacts_of

import flows.media.preview
import tasks.steps.preview
from flows.lip_sync import lip_sync
from flows.media.preview import bar_chart, to_markdown
from flows.schemas.video import FaceCoverage, LipSyncJob, VideoResult
from musetalk_core.errors import MediaUnreadable
from musetalk_core.media.video.contact_sheet import contact_sheet
from tasks.settings import get_settings
from tasks.steps.preview import LipSyncScore


def ran(job):
    state = lip_sync(job, return_state=True)
    return state.result(), artifacts_of(state)


def pictures(page):
    return {
        kind: base64.b64decode(data)
        for kind, data in re.findall(r"data:image/([a-z+]+);base64,(\S+?)\)", page)
    }


@pytest.fixture
def job(clip_file, speech_file):
    return LipSyncJob(video=f"file://{clip_file}", audio=f"file://{speech_file}", engine="viseme")


def test_a_video_is_shown_with_pictures_lips_times_and_links(home, job, monkeypatch):
    monkeypatch.setattr(tasks.steps.preview, "LIP_SYNC_LIMIT_S", 60.0)
    result, notes = ran(job)
    page = notes["preview"].data
    shown = pictures(page)

    sheet = cv2.imdecode(np.frombuffer(shown["jpeg"], np.uint8), cv2.IMREAD_COLOR)
    assert sheet.shape == (480, 960, 3) and len(page) < 250_000
    assert sheet[:, -240:].mean() > 20, "the last picture is there"
    assert "render" in shown["svg+xml"].decode()
    found = re.search(r"correlation \*\*(0\.\d\d)\*\* in time, (-?0\.\d\d) with", page)
    assert float(found[1]) > 0.8 and float(found[1]) - float(found[2]) > 0.4
    assert "follow the sounds clearly" in page
    assert f"musetalk result {notes['result'].flow_run_id}" in page
    assert result.name in notes["preview"].description


def test_the_result_is_written_first_and_the_second_time_nothing_is_looked_at(home, job, monkeypatch):
    for limit in ("CONTACT_SHEET_LIMIT_S", "LIP_SYNC_LIMIT_S"):
        monkeypatch.setattr(tasks.steps.preview, limit, 60.0)
    _, notes = ran(job)
    assert notes["result"].created <= notes["lineage"].created <= notes["preview"].created
    monkeypatch.setattr(tasks.steps.preview, "contact_sheet", lambda *_, **__: pytest.fail("looked again"))
    _, again = ran(job)
    assert pictures(again["preview"].data)["jpeg"] == pictures(notes["preview"].data)["jpeg"]


def test_no_time_means_fewer_pictures_and_no_figure(home, job, monkeypatch):
    monkeypatch.setattr(tasks.steps.preview, "CONTACT_SHEET_LIMIT_S", 0.0)
    monkeypatch.setattr(tasks.steps.preview, "LIP_SYNC_LIMIT_S", 0.0)
    _, notes = ran(job)
    assert "correlation" not in notes["preview"].data and pictures(notes["preview"].data)["jpeg"]

    for limit in ("CONTACT_SHEET_LIMIT_S", "LIP_SYNC_LIMIT_S"):
        monkeypatch.setattr(tasks.steps.preview, limit, 60.0)
    _, again = ran(job)
    assert "correlation" in again["preview"].data, "what was cut short is not kept"


@pytest.mark.parametrize("fault", [MediaUnreadable("gone"), OSError("disk full"), RuntimeError("surprise")])
def test_a_page_that_cannot_be_made_costs_the_job_nothing(home, job, monkeypatch, caplog, fault):
    def fail(*_):
        raise fault

    monkeypatch.setattr(flows.media.preview, "create_preview", fail)
    result, notes = ran(job.model_copy(update={"engine": "fake"}))
    assert result.name and "preview" not in notes and "lineage" in notes
    assert "was not written" in caplog.text


def test_it_can_be_switched_off(home, job, monkeypatch):
    monkeypatch.setenv("MUSETALK_RENDER__PREVIEW", "false")
    get_settings.cache_clear()
    _, notes = ran(job.model_copy(update={"engine": "fake"}))
    assert "preview" not in notes and "result" in notes


def test_a_sheet_of_a_long_video_takes_no_longer_than_it_may(clip_file):
    began = time.process_time()
    sheet = contact_sheet(clip_file, count=400, columns=4, width=64, time_budget_s=0.3)
    assert time.process_time() - began < 2.0
    assert sheet.shape[1] == 256 and sheet.shape[0] % 64 == 0


def test_what_is_no_video_has_no_sheet(tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 64)
    with pytest.raises(MediaUnreadable):
        contact_sheet(bad)


def test_bars_are_as_long_as_their_seconds():
    root = ElementTree.fromstring(bar_chart({"render": 2.0, "a<b": 1.0, "none": 0.0}))
    lengths = [float(bar.get("width")) for bar in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert lengths[0] == pytest.approx(2 * lengths[1], abs=0.1) and lengths[2] == 1.0
    assert "a<b" in "".join(root.itertext())
    assert ElementTree.fromstring(bar_chart({})) is not None


@pytest.mark.parametrize(
    ("right", "wrong", "lag", "movement", "words"),
    [
        (0.9, 0.1, 0, 1.0, "clearly: correlation **0.90** in time"),
        (0.5, 0.2, 2, 1.0, "weakly: correlation **0.50** 2 frames late"),
        (0.3, 0.4, -1, 1.0, "no better than by chance: correlation **0.30** 1 frames early"),
        (0.9, 0.1, 0, 0.1, "no better than by chance: correlation **0.90** in time"),
    ],
)
def test_the_figure_says_how_sure_it_is(home, right, wrong, lag, movement, words):
    result = VideoResult(
        video={"uri": "s3://renders/a.mp4", "version": "v", "size": 1},
        name="a.mp4",
        engine="viseme",
        version=None,
        width=320,
        height=320,
        fps="25",
        frames=50,
        duration_s=2,
        speech_s=2,
        phones="aligned",
        avatar="a" * 64,
        faces=FaceCoverage(frames=50, with_face=49, gaps=[]),
        rendering=None,
        cached=[],
        timings_s={},
        warnings=["1 of 50"],
    )
    followed = LipSyncScore(correlation=right, backwards=wrong, lag_frames=lag, seconds=2, movement=movement)
    page = to_markdown(result, b"x", followed, {"render": 1.0}, uuid4())
    assert words in page and "s3://renders/a.mp4" in page and "**Warning:** 1 of 50" in page
