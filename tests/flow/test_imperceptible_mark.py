"""The imperceptible mark of jobs: default, off, cache keys, keys and determinism."""

from fractions import Fraction

import numpy as np
import pytest

from flows.lip_sync import lip_sync
from flows.portrait import portrait
from flows.schemas.control import Control
from flows.schemas.label import MediaLabel
from flows.schemas.speech import SpeechJob
from flows.schemas.video import LipSyncJob, PortraitJob
from flows.speech import speech
from musetalk_core.errors import InputError
from musetalk_core.imperceptible_mark.file_detection import detect_mark
from musetalk_core.imperceptible_mark.picture_marker import MAX_CHANGE
from musetalk_core.media.audio.decode import decode_speech
from musetalk_core.media.audio.prepend import PAUSE_S
from musetalk_core.media.output.video_encoder import VideoEncoder
from musetalk_core.media.video.scan import open_scan
from tasks.catalog.mark_keys import mark_key, mark_keys
from tasks.settings import get_settings
from tasks.storage.home_store import home_store

TEXT = "My mother bought five big blue balloons, and we carried them home along the river."


def fetched(reference, folder):
    key = reference.uri.split("/outputs/", 1)[1]
    target = folder / key.rsplit("/", 1)[-1]
    home_store().download(f"outputs/{key}", reference.version, target)
    return target


def test_a_rendered_video_is_marked_unless_the_job_says_off(home, clip_file, speech_file):
    job = LipSyncJob(video=f"file://{clip_file}", audio=f"file://{speech_file}")
    marked = lip_sync(job)
    plain = lip_sync(job.model_copy(update={"imperceptible_mark": "off"}))

    assert detect_mark(fetched(marked.video, home), mark_keys()).picture.found
    assert not detect_mark(fetched(plain.video, home), mark_keys()).found
    assert "prepare" in plain.cached and "join" not in plain.cached, "the mark is part of the cache key"
    assert lip_sync(job).video.sha256 == marked.video.sha256


def test_the_engine_for_tests_marks_only_on_request(home, short_clip, speech_file):
    job = LipSyncJob(video=f"file://{short_clip}", audio=f"file://{speech_file}", engine="fake")

    assert not detect_mark(fetched(lip_sync(job).video, home), mark_keys()).found
    marked = lip_sync(job.model_copy(update={"imperceptible_mark": "on"}))
    assert detect_mark(fetched(marked.video, home), mark_keys()).found


def test_the_mark_is_the_only_difference_between_on_and_off(home, short_clip, speech_file, monkeypatch):
    """Pictures on their way to the encoder."""
    job = LipSyncJob(video=f"file://{short_clip}", audio=f"file://{speech_file}", engine="fake")
    written = {"off": [], "on": []}
    write = VideoEncoder.write
    for choice, pictures in written.items():

        def record(encoder, picture, pictures=pictures):
            pictures.append(picture)
            write(encoder, picture)

        monkeypatch.setattr(VideoEncoder, "write", record)
        lip_sync(job.model_copy(update={"imperceptible_mark": choice}))

    assert len(written["on"]) == len(written["off"]) > 0
    for marked, plain in zip(*written.values(), strict=True):
        changes = np.abs(marked.i420.astype(int) - plain.i420)
        assert 0 < changes[: plain.height].max() <= MAX_CHANGE
        assert changes[plain.height :].max() == 0


@pytest.mark.parametrize("kind", ["mp3", "wav"])
def test_synthetic_speech_is_marked_unless_the_job_says_off(home, kind):
    job = SpeechJob(text=TEXT, format=kind)
    marked, plain = speech(job), speech(job.model_copy(update={"imperceptible_mark": "off"}))

    assert detect_mark(fetched(marked.audio, home), mark_keys()).sound.found
    assert not detect_mark(fetched(plain.audio, home), mark_keys()).found
    assert plain.spoken == 0, "the sentences are the same"
    assert plain.duration_s == marked.duration_s


def test_a_portrait_that_speaks_a_text_is_marked_in_picture_and_sound(home, portrait_file):
    result = portrait(
        PortraitJob(image=f"file://{portrait_file}", text=TEXT, engine="fake", imperceptible_mark="on")
    )

    report = detect_mark(fetched(result.video, home), mark_keys())
    assert report.picture.found and report.sound.found


def test_the_setting_is_the_default_of_jobs(home, monkeypatch):
    monkeypatch.setenv("MUSETALK_MARK__IMPERCEPTIBLE", "off")
    get_settings.cache_clear()

    result = speech(SpeechJob(text=TEXT, format="wav"))

    assert not get_settings().mark_key_file.exists()
    assert not detect_mark(fetched(result.audio, home), mark_keys()).found


def test_keys_come_from_the_settings_or_a_private_file(home, monkeypatch):
    (own,) = mark_keys()
    assert get_settings().mark_key_file.stat().st_mode & 0o777 == 0o600
    assert mark_key(own.id) == own
    monkeypatch.setenv("MUSETALK_MARK__SECRETS", f"{'n' * 32},{'o' * 32}")
    get_settings.cache_clear()

    newer, older = mark_keys()

    assert len({newer.id, older.id, own.id}) == 3
    assert "nnnn" not in repr(get_settings().mark)
    with pytest.raises(InputError, match="MUSETALK_MARK__SECRETS"):
        mark_key(own.id)


def test_a_damaged_key_file_is_an_error_with_a_next_step(home):
    get_settings().mark_key_file.parent.mkdir(parents=True)
    get_settings().mark_key_file.write_bytes(b"short")

    with pytest.raises(InputError, match="Delete it"):
        mark_keys()


def test_a_label_is_drawn_for_a_tenant_that_needs_one_and_is_part_of_the_cache_key(
    home, short_clip, speech_file, monkeypatch
):
    job = LipSyncJob(video=f"file://{short_clip}", audio=f"file://{speech_file}", engine="fake")
    plain = lip_sync(job)
    monkeypatch.setenv("MUSETALK_MARK__LABEL_TENANTS", "acme")
    get_settings.cache_clear()

    labeled = lip_sync(job, control=Control(tenant="acme"))

    assert labeled.video.sha256 != plain.video.sha256
    with open_scan(fetched(labeled.video, home)) as scan:
        picture = next(iter(scan))
    corner = picture.y[-60:, -160:]
    assert corner.min() < 40 and corner.max() > 220
    assert lip_sync(job).video.sha256 == plain.video.sha256


def test_a_card_covers_the_first_seconds_and_the_rest_is_unchanged(home, short_clip, speech_file):
    fields = {"video": f"file://{short_clip}", "audio": f"file://{speech_file}", "engine": "fake"}
    plain = lip_sync(LipSyncJob(**fields))
    carded = lip_sync(LipSyncJob(**fields, label={"show": "opening", "seconds": 1}))

    assert carded.frames == plain.frames and carded.duration_s == plain.duration_s
    with open_scan(fetched(carded.video, home)) as scan:
        after = [picture.y.copy() for picture in scan]
    with open_scan(fetched(plain.video, home)) as scan:
        before = [picture.y.copy() for picture in scan]
    dimmed = [now.mean() < 0.6 * then.mean() for now, then in zip(after, before, strict=True)]
    covered = sum(dimmed)
    assert dimmed == [True] * covered + [False] * (len(after) - covered)
    assert covered == round(float(Fraction(plain.fps)))


def test_a_notice_is_spoken_first(home):
    plain = speech(SpeechJob(text=TEXT, format="wav"))
    result = speech(SpeechJob(text=TEXT, format="wav", label={"show": "spoken"}))

    assert result.text == f"The following voice is computer generated. {TEXT}"
    assert result.sentences == plain.sentences + 1
    assert result.duration_s > plain.duration_s + 1


def test_a_notice_is_spoken_before_a_given_recording(home, short_clip, speech_file):
    fields = {"video": f"file://{short_clip}", "audio": f"file://{speech_file}", "engine": "fake"}
    plain = lip_sync(LipSyncJob(**fields))
    noticed = lip_sync(LipSyncJob(**fields, label={"show": "spoken", "text": "This is a synthetic video."}))
    notice = speech(SpeechJob(text="This is a synthetic video.", format="wav", engine="starter"))

    assert noticed.name == plain.name, "named after the recording"
    longer_s = noticed.speech_s - plain.speech_s
    assert longer_s == pytest.approx(notice.duration_s + PAUSE_S, abs=0.01)
    assert (plain.provenance.mark, noticed.provenance.mark) == (None, notice.provenance.mark)
    target = {}
    for name, result in (("plain", plain), ("noticed", noticed)):
        decode_speech(fetched(result.video, home), home / name)
        target[name] = np.fromfile(home / name, "<f4")
    lag = round(longer_s * 16_000)
    length = min(len(target["plain"]), len(target["noticed"]) - lag)
    parts = target["plain"][:length], target["noticed"][lag : lag + length]
    assert np.corrcoef(*parts)[0, 1] > 0.99, "the recording follows"
    again = lip_sync(LipSyncJob(**fields, label={"show": "spoken", "text": "This is a synthetic video."}))
    assert {"speak", "join"} <= set(again.cached) and again.video.sha256 == noticed.video.sha256


def test_phonemes_of_notice_and_of_synthesized_speech_are_both_used(home, portrait_file):
    said = speech(SpeechJob(text="Hello there.", format="wav", engine="starter"), return_state=True)
    audio = f"job://{said.state_details.flow_run_id}"
    job = PortraitJob(image=f"file://{portrait_file}", audio=audio, engine="viseme", fps="10")

    result = portrait(job.model_copy(update={"label": MediaLabel(show="spoken", text="Synthetic.")}))

    assert (result.phones, result.engine) == ("given", "viseme")
    assert result.speech_s > said.result().duration_s + PAUSE_S
