"""Preview frames of real renders: what is stored meanwhile, what it shows, what is left, what it costs."""

import os
import resource
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import cv2
import numpy as np
import pytest
from prefect.client.orchestration import get_client

import tasks.catalog.preview_frames as store
import tasks.steps.preview_frames as steps
from flows.lip_sync import lip_sync
from flows.maintenance.context import SweepContext
from flows.maintenance.preview_frames import ABANDONED_PREVIEW, delete_abandoned_previews
from flows.schemas.video import LipSyncJob
from musetalk_core.engines.viseme.engine import VisemeEngine
from musetalk_core.errors import EncodeError
from tasks.run import reports
from tasks.settings import get_settings
from tasks.settings.retention import RetentionSettings
from tasks.storage.home_store import home_store


@pytest.fixture
def stored(monkeypatch):
    """Frames that jobs store: job and JPEG."""
    frames, write = [], store.write_preview_frame

    def note(job, jpeg):
        frames.append((job, jpeg))
        return write(job, jpeg)

    monkeypatch.setattr(steps, "write_preview_frame", note)
    return frames


@pytest.fixture
def shown(monkeypatch):
    """Numbers of preview frames that the progress has shown."""
    numbers, update = [], reports._update_progress

    def note(artifact, percent, text):
        numbers.append(reports.json.loads(text).get("preview"))
        update(artifact, percent, text)

    monkeypatch.setattr(reports, "_update_progress", note)
    return numbers


def job(clip_file, speech_file, **fields):
    return LipSyncJob(video=f"file://{clip_file}", audio=f"file://{speech_file}", engine="viseme", **fields)


def often(monkeypatch, seconds="0.05"):
    monkeypatch.setenv("MUSETALK_RENDER__PREVIEW_EVERY_S", seconds)
    monkeypatch.setattr(steps, "MAX_SHARE", 1.0)
    get_settings.cache_clear()


def decoded(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).astype(int)


def frames_of(uri, tmp_path):
    home_store().download("outputs/" + uri.split("/outputs/", 1)[1], None, tmp_path / "result.mp4")
    capture = cv2.VideoCapture(str(tmp_path / "result.mp4"))
    while (read := capture.read())[0]:
        yield read[1].astype(int)


def test_frames_of_the_video_are_stored_while_it_renders_and_none_is_left(
    home, clip_file, speech_file, stored, shown, monkeypatch, tmp_path
):
    often(monkeypatch)
    label = {"label": {"show": "corner", "text": "AI-GENERATED"}}
    state = lip_sync(job(clip_file, speech_file, **label), return_state=True)
    result = state.result()

    assert len(stored) > 3 and {one for one, _ in stored} == {state.state_details.flow_run_id}
    video = np.stack(list(frames_of(result.video.uri, tmp_path)))
    for _, jpeg in stored[:: max(1, len(stored) // 4)]:
        nearest = np.abs(video - decoded(jpeg)).mean(axis=(1, 2, 3)).min()
        assert nearest < 4, "a preview is a frame of the finished video, label included"
    numbers = [number for number in shown if number is not None]
    assert numbers == sorted(numbers) and numbers[-1] >= 1
    assert list(store.list_preview_frames()) == []


def test_a_failed_job_leaves_no_frame(home, clip_file, speech_file, stored, monkeypatch):
    often(monkeypatch)

    def fail(*_, **__):
        raise EncodeError("the chunks cannot be joined")

    monkeypatch.setattr("tasks.steps.encode_video.join_files", fail)
    state = lip_sync(job(clip_file, speech_file), return_state=True)

    assert not state.is_completed() and stored
    assert list(store.list_preview_frames()) == []


def test_previews_can_be_switched_off(home, clip_file, speech_file, stored, monkeypatch):
    often(monkeypatch, "0")
    assert lip_sync(job(clip_file, speech_file), return_state=True).is_completed()
    assert stored == []


def test_a_slow_engine_is_previewed_before_its_chunk_is_complete(
    home, clip_file, speech_file, stored, monkeypatch, tmp_path
):
    often(monkeypatch, "0.2")
    made, render, batches = [], VisemeEngine.render, []

    def slowly(self, *arguments, **options):
        batches.append(time.monotonic())
        time.sleep(0.15)
        return render(self, *arguments, **options)

    picture = steps.CropPreview.picture

    def note(self, frame, source, crop):
        made.append((frame, time.monotonic()))
        return picture(self, frame, source, crop)

    monkeypatch.setattr(VisemeEngine, "render", slowly)
    monkeypatch.setattr(steps.CropPreview, "picture", note)
    result = lip_sync(job(clip_file, speech_file))

    in_time = [frame for frame, at in made if at < batches[-1]]
    assert len(in_time) >= 2 and in_time == sorted(in_time)
    video = np.stack(list(frames_of(result.video.uri, tmp_path)))
    frame = in_time[-1]
    jpeg = stored[len(in_time) - 1][1]
    assert np.abs(video[frame] - decoded(jpeg)).mean() < 4


def test_the_janitor_deletes_frames_of_jobs_that_were_killed(home, monkeypatch):
    old, new = uuid4(), uuid4()
    for one in (old, new):
        store.write_preview_frame(one, b"jpeg")
    then = time.time() - 2 * 86_400
    os.utime(home / "home" / "store" / "previews" / f"{old}.jpg", (then, then))
    with get_client(sync_client=True) as client:
        context = SweepContext(client, datetime.now(UTC), RetentionSettings())
        found = list(delete_abandoned_previews(replace_dry(context)))
        assert [one.kind for one in found] == [ABANDONED_PREVIEW] and store.read_preview_frame(old)
        list(delete_abandoned_previews(context))

    assert store.read_preview_frame(old) is None and store.read_preview_frame(new) == b"jpeg"


def replace_dry(context):
    return SweepContext(context.client, context.now + timedelta(0), context.retention, dry_run=True)


@pytest.mark.slow
def test_previews_take_less_than_one_percent_of_the_cpu_time_of_a_job(
    home, wide_clip, speech_file, monkeypatch
):
    """Twenty seconds of 720p: CPU time that makes and stores frames, against that of the process."""
    long_speech = home / "long.wav"
    repeat(speech_file, long_speech, seconds=20)
    used = []

    def measured(work):
        def run(*arguments, **options):
            start = time.thread_time()
            try:
                return work(*arguments, **options)
            finally:
                used.append(time.thread_time() - start)

        return run

    for name in ("offer", "_store", "is_due"):
        monkeypatch.setattr(steps.FrameSampler, name, measured(getattr(steps.FrameSampler, name)))
    start, started = cpu_time(), time.monotonic()
    assert lip_sync(job(wide_clip, long_speech), return_state=True).is_completed()
    total, took = cpu_time() - start, time.monotonic() - started
    print(f"previews {sum(used):.3f} s of {total:.1f} s CPU, {took:.1f} s, load {os.getloadavg()[0]:.1f}")

    assert get_settings().render.preview_every_s == 2.0
    assert 0 < sum(used) < 0.01 * total


def cpu_time():
    """CPU time in seconds of this process and of encoders that have ended."""
    own, ended = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def repeat(source, target, seconds):
    import wave

    with wave.open(str(source)) as given, wave.open(str(target), "wb") as out:
        out.setparams(given.getparams())
        frames, rate = given.readframes(given.getnframes()), given.getframerate()
        wanted = seconds * rate * given.getsampwidth() * given.getnchannels()
        out.writeframes((frames * (wanted // len(frames) + 1))[:wanted])
