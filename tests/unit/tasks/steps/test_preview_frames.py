"""Preview frames of a job while it renders: size, rate and failures, without a job system."""

import threading
import time
from functools import partial
from uuid import UUID, uuid4

import cv2
import numpy as np
import pytest

from musetalk_core.media.image.small_jpeg import small_jpeg
from musetalk_core.media.image.yuv_picture import Picture
from tasks.catalog import preview_frames as store
from tasks.errors import StorageError
from tasks.run.reports import Report
from tasks.settings import get_settings
from tasks.steps import preview_frames
from tasks.steps.preview_frames import FrameSampler

JOB = UUID(int=7)


def picture(width=1280, height=720, level=0):
    columns = np.linspace(0, 255, width, dtype=np.uint8)
    bgr = np.dstack([np.tile(columns, (height, 1)), np.full((height, width), level, np.uint8)] * 2)[..., :3]
    return Picture.from_bgr(np.ascontiguousarray(bgr))


def long_report():
    """The report of a job that has used so much CPU time that its preview frames do not count."""
    report = Report()
    report.preview.started_at_cpu_s = -1000.0
    return report


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSETALK_HOME", str(tmp_path))
    monkeypatch.setenv("MUSETALK_STORE__MIN_FREE_BYTES", "0")
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


@pytest.mark.parametrize(
    ("width", "height", "expected"), [(1280, 720, (180, 320)), (720, 1280, (320, 180)), (64, 48, (48, 64))]
)
def test_a_frame_is_scaled_to_fit_and_keeps_its_colours(width, height, expected):
    jpeg = small_jpeg(picture(width, height, 90), 320)
    shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)

    assert shown.shape[:2] == expected and len(jpeg) < 40_000
    wanted = cv2.resize(picture(width, height, 90).bgr(), expected[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(shown.astype(int) - wanted).mean() < 4


def test_the_least_compressible_frame_fits_the_limit():
    noise = np.random.default_rng(1).integers(0, 255, (720, 720, 3), np.uint8)
    assert len(small_jpeg(Picture.from_bgr(noise), 320)) < store.MAX_BYTES


def test_the_newest_frame_is_stored_at_most_once_per_interval(home):
    sampler = FrameSampler(JOB, report := long_report(), 30.0)
    for level in range(20):
        sampler.offer(level, partial(picture, 320, 180, level))
    sampler.close()

    assert report.preview.number == 1
    assert store.read_preview_frame(JOB) == small_jpeg(picture(320, 180, 0), 320)
    later = FrameSampler(JOB, report, 30.0)  # the next chunk of the same job
    later.offer(30, lambda: picture(320, 180, 200))
    later.close()
    assert report.preview.number == 1, "a new chunk does not start the interval again"

    report.preview.due_at = 0.0
    last = FrameSampler(JOB, report, 30.0)
    last.offer(40, lambda: picture(320, 180, 200))
    last.close()
    assert report.preview.number == 2
    assert store.read_preview_frame(JOB) == small_jpeg(picture(320, 180, 200), 320)


def test_earlier_frames_never_replace_later_ones(home):
    sampler = FrameSampler(JOB, report := long_report(), 0.0)
    sampler.offer(10, lambda: picture(64, 64, 10))
    sampler._writer.submit(lambda: None).result()
    report.preview.due_at = 0.0
    sampler.offer(9, lambda: pytest.fail("an earlier frame is not made"))
    sampler.close()

    assert report.preview.number == 1


def test_crops_are_used_when_the_encoder_has_offered_nothing_for_an_interval(home):
    sampler = FrameSampler(JOB, report := long_report(), 5.0)
    report.preview.due_at = time.monotonic() - 1.0
    assert sampler.is_due() and not sampler.is_due(is_overdue=True)
    report.preview.due_at = time.monotonic() - 5.5
    assert sampler.is_due(is_overdue=True)
    sampler.close()


def test_frames_take_a_share_of_the_cpu_time_only(home):
    def burn():
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
        return picture(64, 64)

    sampler = FrameSampler(JOB, report := Report(), 0.0)
    sampler.offer(1, burn)
    sampler.close()
    cost, used = report.preview.cpu_s, time.process_time() - report.preview.started_at_cpu_s
    assert report.preview.number == 1 and 0.05 <= cost <= used

    assert not sampler.is_due(), "the first frame has used more than the share of this process"
    report.preview.started_at_cpu_s -= cost / preview_frames.MAX_SHARE
    assert sampler.is_due(), "after more work of the job another one is allowed"


def test_a_slow_store_delays_no_rendering(home, monkeypatch):
    stored = threading.Event()
    monkeypatch.setattr(preview_frames, "write_preview_frame", lambda *_: stored.wait(10))
    sampler = FrameSampler(JOB, report := long_report(), 0.0)
    started = time.monotonic()
    for _ in range(50):
        sampler.offer(1, lambda: picture(64, 64))
        report.preview.due_at = 0.0
    took = time.monotonic() - started
    stored.set()
    sampler.close()

    assert took < 5 and report.preview.number == 1


def test_a_store_that_fails_ends_the_previews_and_not_the_job(home, monkeypatch, caplog):
    def fail(*_):
        raise StorageError("the store does not answer")

    monkeypatch.setattr(preview_frames, "write_preview_frame", fail)
    sampler = FrameSampler(JOB, report := long_report(), 0.0)
    sampler.offer(1, lambda: picture(64, 64))
    sampler._writer.submit(lambda: None).result()
    report.preview.due_at = 0.0
    sampler.offer(1, lambda: picture(64, 64))
    sampler.close()

    assert report.preview.number == 0 and caplog.text.count("the store does not answer") == 1


def test_a_frame_over_the_limit_is_not_stored(home):
    assert not store.write_preview_frame(JOB, b"x" * (store.MAX_BYTES + 1))
    assert store.read_preview_frame(JOB) is None


def test_frames_of_jobs_lie_apart_and_are_deleted(home):
    other = uuid4()
    store.write_preview_frame(JOB, b"one")
    store.write_preview_frame(other, b"two")
    store.delete_preview_frame(JOB)
    store.delete_preview_frame(JOB)

    assert store.read_preview_frame(JOB) is None and store.read_preview_frame(other) == b"two"
    assert [frame.key for frame in store.list_preview_frames()] == [f"previews/{other}.jpg"]
