"""Detection in media files: video with sound, images, sound files, several keys."""

from fractions import Fraction

import numpy as np
import pytest
import soxr

from musetalk_core.errors import MediaUnreadable
from musetalk_core.imperceptible_mark.file_detection import detect_mark
from musetalk_core.imperceptible_mark.key import MarkKey
from musetalk_core.imperceptible_mark.picture_marker import PictureMarker
from musetalk_core.imperceptible_mark.sound_marker import mark_wav
from musetalk_core.media.audio.decode import write_wav
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.output.convert_audio import convert_wav
from musetalk_core.media.output.mux import join_chunks
from musetalk_core.media.output.reencode import reencode
from musetalk_core.media.output.video_encoder import VideoEncoder

KEY, OTHER_KEY = MarkKey(b"k" * 32), MarkKey(b"o" * 32)
RATE = Fraction(10)


def write_video(path, portrait, key, speech=None):
    picture = Picture.from_bgr(portrait)
    marker = PictureMarker(key, picture.width, picture.height) if key else lambda one: one
    chunk = path.with_suffix(".chunk.mp4")
    with VideoEncoder(chunk, picture.width, picture.height, RATE, preset="ultrafast") as encoder:
        for shift in range(20):
            rolled = Picture(picture.i420.copy())
            rolled.y[:] = np.roll(picture.y, shift, axis=1)
            encoder.write(marker(rolled))
    join_chunks([chunk], speech, path, rate=RATE)
    return path


@pytest.fixture(scope="module")
def spoken(tmp_path_factory, reading):
    """2 s of marked speech."""
    folder = tmp_path_factory.mktemp("spoken")
    samples = soxr.resample(reading.samples, 16_000, 24_000)
    write_wav(folder / "plain.wav", samples, 24_000)
    mark_wav(folder / "plain.wav", folder / "marked.wav", KEY)
    return folder


def test_a_video_that_was_encoded_again_still_has_its_mark(tmp_path, portrait):
    video = write_video(tmp_path / "video.mp4", portrait, KEY)
    reencode(video, tmp_path / "again.mp4", crf=28)

    report = detect_mark(tmp_path / "again.mp4", [OTHER_KEY, KEY])

    assert report.found
    assert report.key_id == KEY.id
    assert report.picture.found
    assert report.sound is None


def test_a_video_without_a_mark_has_none(tmp_path, portrait):
    report = detect_mark(write_video(tmp_path / "video.mp4", portrait, None), [KEY, OTHER_KEY])

    assert not report.found
    assert report.key_id is None
    assert report.picture.false_alarm_bound > 1e-6


def test_a_sound_file_is_searched(spoken):
    convert_wav(spoken / "marked.wav", spoken / "marked.mp3", "mp3")

    report = detect_mark(spoken / "marked.mp3", [KEY])

    assert (report.picture, report.key_id) == (None, KEY.id)
    assert not detect_mark(spoken / "plain.wav", [KEY]).found


def test_a_file_that_is_not_media_is_refused(tmp_path):
    (tmp_path / "text.mp4").write_text("text")

    with pytest.raises(MediaUnreadable):
        detect_mark(tmp_path / "text.mp4", [KEY])
