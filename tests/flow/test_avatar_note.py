"""The note of an avatar is for people: its store decides no video's fate, and jobs may write it at once."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from at_once import run_at_once
from fork_server import popen
from prefect.settings import PREFECT_API_URL

from flows.lip_sync import lip_sync
from flows.prepare_avatar import prepare_avatar
from flows.schemas.video import LipSyncJob, PrepareAvatarJob
from tasks.catalog.avatar_notes import list_notes, read_note, read_picture, save_note
from tasks.errors import BucketNotAllowed, StorageError
from tasks.steps import prepare_avatar as avatar

SPEECH_S = 3
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def job(home, clip_file, speech_file):
    return LipSyncJob(video=f"file://{clip_file}", audio=f"file://{speech_file}", engine="fake")


def failing(times, error):
    """A `save_note` that fails so often, then works."""
    left = [times]

    def attempt(*words):
        left[0] -= 1
        if left[0] >= 0:
            raise error
        save_note(*words)

    return attempt


def test_a_store_that_fails_once_is_asked_again(job, monkeypatch):
    monkeypatch.setattr(avatar, "save_note", failing(1, StorageError("the storage is busy")))

    result = lip_sync(job)

    assert [note.avatar for note in list_notes(None, None, 10)[0]] == [result.avatar]
    assert result.warnings == []


def test_a_store_that_refuses_the_note_costs_a_warning_and_no_video(job, monkeypatch):
    monkeypatch.setattr(avatar, "save_note", failing(10, BucketNotAllowed("the storage refused to write")))

    result = lip_sync(job)

    assert result.video.size > 0
    assert len(result.warnings) == 1
    assert "not added to the list of avatars" in result.warnings[0]
    assert "refused to write" in result.warnings[0]


def test_preparing_an_avatar_still_says_that_it_could_not_be_listed(home, clip_file, monkeypatch):
    monkeypatch.setattr(avatar, "save_note", failing(10, BucketNotAllowed("the storage refused to write")))

    with pytest.raises(BucketNotAllowed):
        prepare_avatar(PrepareAvatarJob(video=f"file://{clip_file}", engine="fake"))


def test_the_note_has_the_size_and_a_picture_of_the_face(home, clip_file):
    prepared = prepare_avatar(PrepareAvatarJob(video=f"file://{clip_file}", engine="viseme"))
    note = read_note(prepared.avatar, None)
    picture = cv2.imdecode(np.frombuffer(read_picture(prepared.avatar, None), np.uint8), cv2.IMREAD_COLOR)

    assert note.has_picture and 1000 < note.bytes < 1_000_000
    assert max(picture.shape[:2]) <= 240 and min(picture.shape[:2]) > 60
    source = cv2.imread(str(Path(__file__).parents[1] / "assets" / "astronaut.jpg"))
    face = cv2.resize(picture, (60, 60))
    fits = cv2.matchTemplate(cv2.resize(source, (190, 190)), face, cv2.TM_CCOEFF_NORMED)
    assert picture.std() > 30 and fits.max() > 0.3, "the picture is a part of the photo"


# notes take half a second to store, so that the jobs, which have waited for one avatar, write them together
JOB = """
import sys, time
from tasks.storage.folder_store import FolderStore

def slowed(plain):
    def slow(self, *words, **more):
        if any("avatars/" in str(word) for word in words):
            time.sleep(0.5)
        return plain(self, *words, **more)
    return slow

for name in ("upload", "put_bytes"):
    if hasattr(FolderStore, name):
        setattr(FolderStore, name, slowed(getattr(FolderStore, name)))

from flows.schemas.control import Control
from flows.lip_sync import lip_sync
from flows.schemas.video import LipSyncJob

print("ready", flush=True)
sys.stdin.readline()
job = LipSyncJob(video=sys.argv[1], audio=sys.argv[2], engine="fake")
print(lip_sync(job).avatar)
"""


def test_jobs_that_share_an_avatar_all_succeed_at_once(job, home):
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "results"),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_LOGGING_LEVEL": "ERROR",
    }
    answers = run_at_once(JOB, [(job.video, job.audio)] * 3, environment, 300, popen)

    assert answers == [list_notes(None, None, 10)[0][0].avatar] * 3
