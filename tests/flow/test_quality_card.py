"""The quality card of jobs: result, page, warnings, gate and cache; off by default."""

import base64
import re

import cv2
import numpy as np
import pytest
from shown import artifacts_of

import tasks.steps.measure_quality
from flows.lip_sync import lip_sync
from flows.portrait import portrait
from flows.schemas.video import LipSyncJob, PortraitJob
from musetalk_core.errors import MediaUnreadable
from tasks.errors import QualityBelowThreshold


def ran(flow, job):
    state = flow(job, return_state=True)
    return state, artifacts_of(state)


@pytest.fixture
def job(clip_file, speech_file):
    return LipSyncJob(
        video=f"file://{clip_file}", audio=f"file://{speech_file}", engine="viseme", quality="card"
    )


def test_a_card_is_in_the_result_and_on_the_page_and_is_made_once(home, job):
    state, notes = ran(lip_sync, job)
    result = state.result()
    card = result.quality

    assert card.frames == card.with_face > 60 and card.speech == "phonemes"
    assert card.figures["correlation"].value > 0.8 and card.figures["outside"].value < 1
    assert card.figures["seam"].value < 2, "the imperceptible mark and the encoder leave no seam"
    assert card.score == min(one.grade for one in card.figures.values() if one.grade is not None)
    page = notes["quality"].data
    mouths = base64.b64decode(re.search(r"image/jpeg;base64,(\S+?)\)", page)[1])
    strip = cv2.imdecode(np.frombuffer(mouths, np.uint8), cv2.IMREAD_COLOR)
    assert strip.shape[1] > 4 * strip.shape[0] and "| correlation | 0.9" in page
    warned = {text.partition(":")[0] for text in result.warnings}
    assert bool(card.defects) == bool(warned & {"weak_lip_movement", "picture_defects"})

    again = lip_sync(job)
    assert again.quality == card and "quality" in again.cached
    off = lip_sync(job.model_copy(update={"quality": None}))
    assert off.quality is None and off.video.sha256 == result.video.sha256


def test_a_gate_fails_the_job_before_anything_is_stored(home, job):
    strict = job.model_copy(update={"quality": "gate", "fail_below": 1.0})
    state, notes = ran(lip_sync, strict)

    with pytest.raises(QualityBelowThreshold, match=r"score 0\.\d\d is below 1: \w+ "):
        state.result()
    assert '"quality_below_threshold"' in notes["error"].data
    assert "quality" in notes and "result" not in notes
    assert not list((home / "home").rglob("outputs/*/*.mp4"))

    passed = lip_sync(strict.model_copy(update={"fail_below": 0.0}))
    assert passed.quality.score < 1 and "join" in passed.cached


def test_an_animated_portrait_is_compared_with_its_moving_picture(home, portrait_file, speech_file):
    job = PortraitJob(
        image=f"file://{portrait_file}", audio=f"file://{speech_file}", engine="viseme", quality="card"
    )
    card = portrait(job).quality

    assert card.figures["outside"].value < 1, "head motion outside the mouth is the source's"
    assert card.figures["offset"].value < 0.005 and card.figures["seam"].value < 1.5


def test_a_mouth_of_one_color_is_a_defect_of_the_picture(home, clip_file, speech_file):
    job = LipSyncJob(video=f"file://{clip_file}", audio=f"file://{speech_file}", engine="fake")
    assert lip_sync(job).quality is None, "the engine for tests is measured on request only"
    result = lip_sync(job.model_copy(update={"quality": "card"}))

    assert result.quality.speech == "loudness"
    assert {"colour", "sharpness_fine"} & set(result.quality.defects)
    assert any(text.startswith("picture_defects: ") for text in result.warnings)


def test_an_error_of_the_measurement_fails_only_a_gate(home, job, monkeypatch):
    def broken(*_):
        raise MediaUnreadable("cannot be read")

    monkeypatch.setattr(tasks.steps.measure_quality, "measure_video", broken)
    result = lip_sync(job)
    assert result.quality is None
    assert any(text.startswith("quality_not_measured: ") for text in result.warnings)

    with pytest.raises(MediaUnreadable):
        lip_sync(job.model_copy(update={"quality": "gate"}))
