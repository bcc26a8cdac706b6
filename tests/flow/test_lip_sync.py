import wave

import av
import pytest

from flows.lip_sync import lip_sync
from flows.portrait import portrait
from flows.prepare_avatar import prepare_avatar
from flows.schemas.control import Control
from flows.schemas.video import LipSyncJob, PortraitJob, PrepareAvatarJob
from musetalk_core.avatar import prepare
from musetalk_core.errors import NoFaceFound
from musetalk_core.faces.mesh_tracker import MeshTracker
from tasks.catalog.avatar_notes import list_notes
from tasks.errors import AvatarNotPrepared
from tasks.storage.home_store import home_store

SPEECH_S = 3


def uri(path):
    return f"file://{path}"


def lengths(reference, folder):
    """Seconds of picture and of sound in a result."""
    key = reference.uri.split("/outputs/", 1)[1]
    target = folder / "result.mp4"
    home_store().download(f"outputs/{key}", reference.version, target)
    with av.open(str(target)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        names = video.codec_context.name, audio.codec_context.name
        return names, float(video.duration * video.time_base), float(audio.duration * audio.time_base)


def test_a_clip_speaks_and_the_lengths_agree(home, clip_file, speech_file):
    result = lip_sync(LipSyncJob(video=uri(clip_file), audio=uri(speech_file)))

    assert result.name == "anna_hello.mp4"
    assert (result.engine, result.phones, result.fps) == ("viseme", "recognised", "25")
    assert (result.faces.frames, result.faces.with_face) == (50, 50)
    codecs, picture, sound = lengths(result.video, home)
    assert codecs == ("h264", "aac")
    assert abs(picture - sound) <= 1 / 25
    assert abs(sound - SPEECH_S) < 0.05


def test_the_same_job_again_comes_from_the_cache(home, clip_file, speech_file):
    job = LipSyncJob(video=uri(clip_file), audio=uri(speech_file), engine="fake")
    first = lip_sync(job)
    second = lip_sync(job)

    assert first.cached == []
    assert second.cached == ["prepare", "features", "sound", "join", "sign"]
    assert second.video.uri != first.video.uri, "each job has its own file, to keep or to delete"
    assert (second.video.sha256, second.name) == (first.video.sha256, first.name)


def test_a_deleted_output_is_uploaded_again_and_nothing_is_rendered(home, clip_file, speech_file):
    job = LipSyncJob(video=uri(clip_file), audio=uri(speech_file), engine="fake")
    first = lip_sync(job)
    key = "outputs/" + first.video.uri.split("/outputs/", 1)[1]
    home_store().delete(key)

    second = lip_sync(job)

    assert second.cached == ["prepare", "features", "sound", "join", "sign"]
    again = "outputs/" + second.video.uri.split("/outputs/", 1)[1]
    assert home_store().head(again).size == first.video.size


def test_a_vanished_artefact_is_made_again_not_believed(home, clip_file, speech_file):
    from tasks.cache.artefacts import artefact_cache

    job = LipSyncJob(video=uri(clip_file), audio=uri(speech_file), engine="fake")
    first = lip_sync(job)
    artefact_cache().delete("avatar", first.avatar)

    assert "prepare" not in lip_sync(job).cached


def test_a_second_speech_finds_no_face_anew(home, clip_file, speech_file, monkeypatch):
    lip_sync(LipSyncJob(video=uri(clip_file), audio=uri(speech_file), engine="fake"))
    monkeypatch.setattr(prepare, "prepare_avatar", lambda *_: pytest.fail("prepared twice"))
    monkeypatch.setattr(MeshTracker, "update", lambda *_: pytest.fail("looked for a face"))
    other = home / "other.wav"
    with wave.open(str(speech_file)) as source, wave.open(str(other), "wb") as shorter:
        shorter.setparams(source.getparams())
        shorter.writeframes(source.readframes(80_000))

    assert "prepare" in lip_sync(LipSyncJob(video=uri(clip_file), audio=uri(other), engine="fake")).cached


def test_a_portrait_moves_and_can_be_told_not_to(home, portrait_file, speech_file):
    moving = portrait(PortraitJob(image=uri(portrait_file), audio=uri(speech_file), engine="fake"))
    still = portrait(
        PortraitJob(image=uri(portrait_file), audio=uri(speech_file), engine="fake", idle_motion=False)
    )

    assert moving.frames == still.frames == 25 * SPEECH_S
    assert moving.video.uri != still.video.uri
    assert "prepare" in still.cached


def test_preparing_ahead_serves_the_job(home, clip_file, speech_file):
    made = prepare_avatar(PrepareAvatarJob(video=uri(clip_file), engine="fake"))
    job = LipSyncJob(video=uri(clip_file), audio=uri(speech_file), engine="fake", preparation=False)

    assert lip_sync(job).avatar == made.avatar


def test_an_avatar_that_must_exist_but_does_not_is_an_error(home, clip_file, speech_file):
    job = LipSyncJob(video=uri(clip_file), audio=uri(speech_file), engine="fake", preparation=False)

    with pytest.raises(AvatarNotPrepared):
        lip_sync(job)


def test_a_picture_without_a_face_is_an_error(home, speech_file):
    import cv2
    import numpy as np

    wall = home / "wall.png"
    cv2.imwrite(str(wall), np.full((240, 320, 3), 120, np.uint8))

    with pytest.raises(NoFaceFound, match="found in the picture"):
        portrait(PortraitJob(image=uri(wall), audio=uri(speech_file)))


def test_what_was_prepared_is_written_down_for_its_tenant(home, clip_file, speech_file):
    made = prepare_avatar(
        PrepareAvatarJob(video=uri(clip_file), engine="fake"), control=Control(tenant="acme")
    )
    (note,), onwards = list_notes("acme", None, 10)
    assert (note.avatar, note.source, note.frames) == (made.avatar, clip_file.name, made.frames)
    assert onwards is None and list_notes("other", None, 10) == ([], None)
    job = LipSyncJob(video=uri(clip_file), audio=uri(speech_file), engine="fake")
    assert lip_sync(job).avatar == made.avatar
    assert len(list_notes(None, None, 10)[0]) == 2, "a job without a tenant has a note of its own"
