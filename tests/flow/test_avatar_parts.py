"""Faces that jobs encode when they need them: which, how often, after failures, by whom, and deletion."""

import os
import signal
import subprocess
import sys
import wave
from pathlib import Path
from threading import Barrier

import pytest
from at_once import run_at_once
from entry_user import entry_in_use
from fork_server import popen
from parts_engine import PART_FRAMES, RECORD, PartsEngine, encoded_frames
from prefect.settings import PREFECT_API_URL

import tasks.steps.preview_frames as preview_steps
from flows.lip_sync import lip_sync
from flows.prepare_avatar import prepare_avatar
from flows.schemas.control import Control
from flows.schemas.video import LipSyncJob, PrepareAvatarJob
from musetalk_core.engines import constant_engine
from musetalk_core.engines.viseme.engine import VisemeEngine
from tasks.cache.artefacts import ArtefactCache, artefact_cache
from tasks.catalog.avatar_notes import delete_avatar, list_notes, read_note
from tasks.catalog.avatar_parts import AVATAR_PART_KIND, avatar_parts_bytes
from tasks.errors import StorageError
from tasks.run import reports
from tasks.settings import get_settings
from tasks.steps.encode_video import CLIP_KIND, VIDEO_KIND
from tasks.steps.render_chunk import CROPS_KIND

SPEECH_S = 3
REPOSITORY = Path(__file__).resolve().parents[2]
FRAMES = 50
"""Of the clip: six parts of eight frames and one of two."""


@pytest.fixture
def engine(home, monkeypatch, tmp_path):
    """Let the engine `fake` encode in parts of eight frames; chunks have half a second."""
    monkeypatch.setattr(constant_engine, "FakeEngine", PartsEngine)
    monkeypatch.setenv(RECORD, str(tmp_path / "encoded"))
    monkeypatch.setenv("MUSETALK_RENDER__CHUNK_SECONDS", "0.5")
    get_settings.cache_clear()
    return PartsEngine


@pytest.fixture
def talk(engine, clip_file, speech_file):
    """Return a function that makes a job with so many seconds of sound."""

    def make(seconds, **fields):
        sound = speech_file.with_name(f"{seconds}.wav")
        with wave.open(str(speech_file)) as source, wave.open(str(sound), "w") as out:
            out.setparams(source.getparams())
            out.writeframes(source.readframes(int(seconds * source.getframerate())))
        return LipSyncJob(video=f"file://{clip_file}", audio=f"file://{sound}", engine="fake", **fields)

    return make


def stored_parts(kind=AVATAR_PART_KIND):
    """Content of all parts by key: their files."""
    folders = (artefact_cache().folder / "artefacts" / kind).glob("*/*/")
    return {folder.name: {file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders}


def other_cache(monkeypatch, folder):
    monkeypatch.setenv("MUSETALK_STORE__CACHE_FOLDER", str(folder))
    monkeypatch.setenv("PREFECT_LOCAL_STORAGE_PATH", str(folder / "results"))
    get_settings.cache_clear()


def test_a_job_encodes_the_faces_it_shows_and_a_longer_one_the_others(talk):
    first = lip_sync(talk(0.4))
    assert encoded_frames() == list(range(16)), "ten frames are in two parts"
    assert first.cached == [] and first.timings_s["prepare"] > 0

    again = lip_sync(talk(0.4))
    assert again.cached == ["prepare", "features", "sound", "join", "sign"]
    other = lip_sync(talk(0.6))
    assert "prepare" in other.cached and "prepare" not in other.timings_s
    assert len(encoded_frames()) == 16

    longer = lip_sync(talk(1.2))
    assert encoded_frames() == list(range(32))
    assert "prepare" not in longer.cached and longer.timings_s["prepare"] > 0
    assert longer.avatar == first.avatar

    lip_sync(talk(3))  # the clip, and its last second backwards
    assert encoded_frames() == list(range(FRAMES))


def test_an_avatar_that_jobs_extended_equals_one_prepared_ahead(talk, clip_file, monkeypatch, tmp_path):
    for seconds in (0.4, 1.2, 3):
        lip_sync(talk(seconds))
    extended, crops = stored_parts(), stored_parts(CROPS_KIND)
    other_cache(monkeypatch, tmp_path / "other")
    made = prepare_avatar(PrepareAvatarJob(video=f"file://{clip_file}", engine="fake", refresh=True))

    assert encoded_frames() == [*range(FRAMES), *range(FRAMES)]
    assert stored_parts() == extended and len(extended) == 7
    assert lip_sync(talk(3, output={"name": "again.mp4"})).avatar == made.avatar
    at_once = stored_parts(CROPS_KIND)
    assert len(at_once) == 7 and at_once.items() <= crops.items()
    assert len(encoded_frames()) == 2 * FRAMES


def test_preparing_ahead_encodes_what_is_missing_and_a_job_then_nothing(talk, clip_file):
    lip_sync(talk(0.4))
    job = PrepareAvatarJob(video=f"file://{clip_file}", engine="fake")
    first, second = prepare_avatar(job), prepare_avatar(job)

    assert encoded_frames() == list(range(FRAMES))
    assert "prepare" not in first.cached and "prepare" in second.cached
    assert "prepare" in lip_sync(talk(3)).cached
    assert len(encoded_frames()) == FRAMES


def test_an_engine_that_needs_all_frames_has_no_parts(home, clip_file, speech_file):
    result = lip_sync(LipSyncJob(video=f"file://{clip_file}", audio=f"file://{speech_file}", engine="viseme"))

    assert VisemeEngine.capabilities.part_frames == 0
    assert stored_parts() == {} and not read_note(result.avatar, None).in_parts


def test_an_avatar_that_must_be_prepared_is_extended_for_its_tenant(talk):
    control = Control(tenant="acme")
    lip_sync(talk(0.4), control)
    lip_sync(talk(1.2, preparation=False), control)

    assert encoded_frames() == list(range(32))


def test_refreshing_encodes_again_what_the_job_shows_and_deletes_the_rest(talk):
    lip_sync(talk(1.2))
    assert len(stored_parts()) == 4
    lip_sync(talk(0.4, refresh=True))

    assert encoded_frames() == [*range(32), *range(16)]
    assert len(stored_parts()) == 2


class LostGpu(OSError):
    pass


def test_a_retry_after_a_failure_goes_on_with_the_parts_that_exist(talk, monkeypatch):
    failures = [LostGpu(), LostGpu()]

    def fail_twice(frame):
        if frame == 20 and failures:
            raise failures.pop()

    monkeypatch.setattr(PartsEngine, "on_face", staticmethod(fail_twice))
    monkeypatch.setenv("MUSETALK_RENDER__CHUNK_SECONDS", "10")
    get_settings.cache_clear()
    with pytest.raises(LostGpu):  # the task has one retry
        lip_sync.with_options(retries=0)(talk(1.2))
    assert encoded_frames() == [*range(20), *range(16, 20)], "the retry begins with the part that failed"
    lip_sync(talk(1.2))

    assert encoded_frames() == [*range(20), *range(16, 20), *range(16, 32)]


JOB = """
import os, signal, sys, time
sys.path[:0] = [{support!r}]
import parts_engine
parts_engine.install()
from flows.lip_sync import lip_sync
from flows.schemas.video import LipSyncJob

def before(frame):
    if frame == {kill_at}:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep({pause_s})

parts_engine.PartsEngine.on_face = staticmethod(before)
print("ready", flush=True)
sys.stdin.readline()
job = LipSyncJob(video=sys.argv[1], audio=sys.argv[2], engine="fake")
print(lip_sync(job).avatar)
"""


def program(kill_at=-1, pause_s=0.0):
    return JOB.format(support=str(REPOSITORY / "tests" / "support"), kill_at=kill_at, pause_s=pause_s)


@pytest.fixture
def environment(home):
    return os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "results"),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_LOGGING_LEVEL": "ERROR",
    }


def test_a_killed_job_leaves_whole_parts_and_the_next_one_goes_on(talk, environment):
    job = talk(1.2)
    command = [sys.executable, "-c", program(kill_at=20), job.video, job.audio]
    killed = popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    killed.communicate("go\n", timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert encoded_frames() == list(range(20)) and len(stored_parts()) == 2
    lip_sync(job)

    assert encoded_frames() == [*range(20), *range(16, 32)]


def test_jobs_that_need_the_same_faces_at_once_encode_each_once(talk, environment):
    jobs = [talk(seconds) for seconds in (1.2, 1.4, 1.2)]
    answers = run_at_once(
        program(pause_s=0.02), [(job.video, job.audio) for job in jobs], environment, 300, popen
    )

    assert answers == [list_notes(None, None, 10)[0][0].avatar] * 3
    assert sorted(encoded_frames()) == list(range(40))


def parts_deleted():
    for key in stored_parts():
        assert artefact_cache().delete(AVATAR_PART_KIND, key)


def test_crops_of_the_cache_get_the_masks_that_were_evicted(talk):
    first = lip_sync(talk(0.4))
    artefact_cache().release()
    parts_deleted()
    again = lip_sync(talk(0.4, encode={"crf": 30}))

    assert "render" in again.cached and again.video.sha256 != first.video.sha256
    assert encoded_frames() == [*range(16), *range(16)]


def test_a_video_of_the_cache_is_measured_with_masks_that_were_evicted(talk):
    lip_sync(talk(1.2))
    artefact_cache().release()
    parts_deleted()
    result = lip_sync(talk(1.2, quality="card"))

    assert "join" in result.cached and result.quality.frames == 30
    assert encoded_frames() == [*range(32), *range(32)]


def test_an_evicted_avatar_is_found_again_and_its_parts_are_used(talk):
    first = lip_sync(talk(0.4))
    artefact_cache().release()
    assert artefact_cache().delete("avatar", first.avatar)
    second = lip_sync(talk(0.6))

    assert second.avatar == first.avatar and "prepare" not in second.cached
    assert encoded_frames() == list(range(16))


def test_the_size_of_an_avatar_grows_with_its_parts_and_deletion_removes_them(talk):
    sizes = []
    for seconds in (0.4, 1.2):
        result = lip_sync(talk(seconds))
        sizes.append(read_note(result.avatar, None).bytes)
    parts = sum(len(content) for files in stored_parts().values() for content in files.values())
    assert avatar_parts_bytes(result.avatar) == parts
    assert sizes[0] < sizes[1] == list_notes(None, None, 10)[0][0].bytes
    folder = artefact_cache().path(artefact_cache().find("avatar", result.avatar))
    assert sizes[1] == parts + sum(file.stat().st_size for file in folder.iterdir())
    artefact_cache().release()
    unrelated = artefact_cache().get_or_create(
        AVATAR_PART_KIND, "e" * 64, lambda folder: (folder / "offsets.npz").write_bytes(b"x")
    )

    assert delete_avatar(result.avatar, None)
    assert set(stored_parts()) == {unrelated.key}
    assert not artefact_cache().exists("avatar", result.avatar)
    lip_sync(talk(0.4, output={"name": "new.mp4"}))
    assert len(stored_parts()) == 1, "the video is cached"


def test_an_avatar_whose_part_a_job_uses_is_not_deleted(talk):
    result = lip_sync(talk(0.4))
    artefact_cache().release()
    [key, _] = sorted(stored_parts())
    with entry_in_use(AVATAR_PART_KIND, key):
        assert not delete_avatar(result.avatar, None)
        assert set(stored_parts()) == {key}
    assert delete_avatar(result.avatar, None)
    assert stored_parts() == {} and list_notes(None, None, 10)[0] == []


def test_parts_are_deleted_at_once_and_a_failure_can_be_repeated(talk, monkeypatch):
    result = lip_sync(talk(1.2))
    artefact_cache().release()
    keys, plain = sorted(stored_parts()), ArtefactCache.delete
    together = Barrier(len(keys), timeout=30)

    def delete(cache, kind, key):
        if kind == AVATAR_PART_KIND:
            together.wait()
            if key == keys[0]:
                raise StorageError("the store is away")
        return plain(cache, kind, key)

    with monkeypatch.context() as patch:
        patch.setattr(ArtefactCache, "delete", delete)
        with pytest.raises(StorageError):
            delete_avatar(result.avatar, None)
    assert len(keys) > 2 and list(stored_parts()) == keys[:1]
    assert read_note(result.avatar, None)
    assert delete_avatar(result.avatar, None) and stored_parts() == {}


def test_progress_counts_the_faces_to_encode_and_never_falls(talk, monkeypatch):
    shown = []
    monkeypatch.setattr(reports, "_PROGRESS_INTERVAL_S", 0.0)
    update = reports._update_progress

    def note(artifact, percent, text):
        shown.append((percent, *(reports.json.loads(text)[name] for name in ("phase", "done", "total"))))
        update(artifact, percent, text)

    monkeypatch.setattr(reports, "_update_progress", note)
    lip_sync(talk(1.2))

    percents = [percent for percent, *_ in shown]
    assert percents == sorted(percents) and percents[-1] == 100
    encoding = [(done, total) for _, phase, done, total in shown if phase == "prepare" and done >= FRAMES]
    first = [pair for pair in encoding if pair[1] == FRAMES + 16]  # the first chunk: two parts
    assert first[0] == (FRAMES, FRAMES + 16) and first[-1] == (FRAMES + 16, FRAMES + 16)
    assert [done for done, _ in first] == sorted(done for done, _ in first)
    assert (FRAMES + 8, FRAMES + 8) in encoding, "the second chunk needs one more part"


def test_preview_frames_of_crops_use_the_masks_of_parts(talk, monkeypatch, caplog):
    offered = []
    monkeypatch.setenv("MUSETALK_RENDER__PREVIEW_EVERY_S", "0.001")
    monkeypatch.setattr(preview_steps, "MAX_SHARE", 1000.0)
    get_settings.cache_clear()
    made = preview_steps.CropPreview.picture
    monkeypatch.setattr(
        preview_steps.CropPreview,
        "picture",
        lambda self, frame, *crop: offered.append(frame) or made(self, frame, *crop),
    )
    lip_sync(talk(1.2))

    assert offered and "preview frames are not shown" not in caplog.text


def test_the_video_and_its_clips_keep_their_keys_whatever_is_encoded_when(talk, clip_file):
    prepare_avatar(PrepareAvatarJob(video=f"file://{clip_file}", engine="fake"))
    lip_sync(talk(0.4))
    keys = [artefact_cache().local_keys(kind) for kind in (CLIP_KIND, VIDEO_KIND)]
    artefact_cache().release()
    parts_deleted()
    lip_sync(talk(0.4))

    assert keys == [artefact_cache().local_keys(kind) for kind in (CLIP_KIND, VIDEO_KIND)]
    assert PartsEngine.capabilities.part_frames == PART_FRAMES
