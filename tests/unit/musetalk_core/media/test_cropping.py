"""Cropping that a container states, measured in the pixels that engines see."""

import cropped_media as cropped
import numpy as np
import pytest

from musetalk_core.errors import MediaUnreadable
from musetalk_core.media.image.normalise import Normaliser
from musetalk_core.media.output.caption_parser import Caption
from musetalk_core.media.output.captions import add_caption_track
from musetalk_core.media.probe import probe
from musetalk_core.media.source.cropping import Crop
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.video.decoder import open_decoder


def shown_pictures(path):
    with open_decoder(path, MediaLimits()) as decoder:
        aspect = decoder.stream.sample_aspect_ratio
        frames = list(decoder.frames())
    times = [frame.pts for frame in frames]
    assert times == sorted(times) and len(set(times)) == len(times)
    normaliser = Normaliser(frames[0], aspect)
    return [normaliser.to_picture(frame).bgr() for frame in frames]


def make(tmp_path, kind):
    if kind == "matroska":
        return cropped.with_pixel_crop(cropped.write_video(tmp_path / "a.mkv", "matroska"))
    return cropped.with_clap(cropped.write_video(tmp_path / "a.mp4", "mp4"))


@pytest.mark.parametrize("kind", ["matroska", "mp4"])
def test_only_what_a_player_shows_is_left(tmp_path, kind):
    path = make(tmp_path, kind)
    info = probe(path).video
    assert (info.width, info.height) == cropped.SHOWN

    pictures = shown_pictures(path)
    assert len(pictures) == 8
    for number, picture in enumerate(pictures):
        assert picture.shape == (*cropped.SHOWN[::-1], 3)
        inside = picture[2:-2, 2:-2].astype(int)
        assert np.abs(inside - 110 - number).max() <= 6, "no red of the border, and the right frame"
        assert np.abs(picture.astype(int) - 110 - number).mean() < 3


@pytest.mark.parametrize("kind", ["matroska", "mp4"])
def test_a_crop_of_nothing_changes_nothing(tmp_path, kind):
    if kind == "matroska":
        path = cropped.with_pixel_crop(cropped.write_video(tmp_path / "a.mkv", "matroska"), 0, 0, 0, 0)
    else:
        whole = cropped.WIDTH, cropped.HEIGHT
        path = cropped.with_clap(cropped.write_video(tmp_path / "a.mp4", "mp4"), *whole, (0, 1), (0, 1))
    info = probe(path).video
    assert (info.width, info.height) == (cropped.WIDTH, cropped.HEIGHT)
    assert shown_pictures(path)[0][0, 0, 2] > 200, "the red border is there"


def test_the_display_size_of_matroska_is_that_of_the_cropped_picture(tmp_path):
    double = cropped.SHOWN[0] * 2, cropped.SHOWN[1]
    path = cropped.write_video(tmp_path / "a.mkv", "matroska")
    info = probe(cropped.with_pixel_crop(path, display=double)).video
    assert (info.width, info.height) == double


def test_an_odd_crop_is_within_a_pixel(tmp_path):
    path = cropped.write_video(tmp_path / "a.mkv", "matroska")
    info = probe(cropped.with_pixel_crop(path, 15, 7, 24, 12)).video
    assert (info.width, info.height) == (122, 78)
    picture = shown_pictures(path)[0]
    assert picture[40, 0, 2] > 180 and picture[40, 4, 2] < 140, "one column of the border, then gray"


@pytest.mark.parametrize("sides", [(100, 0, 60, 0), (0, 90, 0, 90), (65535, 65535, 65535, 65535)])
def test_a_crop_of_everything_is_refused(tmp_path, sides):
    path = cropped.with_pixel_crop(cropped.write_video(tmp_path / "a.mkv", "matroska"), *sides)
    with pytest.raises(MediaUnreadable):  # by FFmpeg itself
        probe(path)
    with pytest.raises(MediaUnreadable, match="crops its picture of 160 x 96 pixels to nothing"):
        Crop(*sides).size(160, 96)


@pytest.mark.parametrize(
    ("width", "right"), [(0, (0, 1)), (-5, (0, 1)), (500, (0, 1)), (120, (0, 0)), (120, (400, 1))]
)
def test_an_aperture_that_makes_no_sense_is_ignored_as_by_players(tmp_path, width, right):
    path = cropped.write_video(tmp_path / "a.mp4", "mp4")
    info = probe(cropped.with_clap(path, width, 76, right, (0, 1))).video
    assert (info.width, info.height) == (cropped.WIDTH, cropped.HEIGHT)


def test_sides_are_subtracted():
    assert Crop(1, 2, 3, 4).size(10, 10) == (6, 4)


@pytest.mark.parametrize("kind", ["matroska", "mp4"])
def test_a_caption_track_is_added_to_what_a_player_shows(tmp_path, kind):
    path, target = make(tmp_path, kind), tmp_path / "out.mp4"
    (warning,) = add_caption_track(path, probe(path), [Caption(0, 200, "Hello")], target)

    assert warning.startswith("video_reencoded: the container crops")
    made = probe(target).video
    assert (made.width, made.height, made.is_cropped) == (*cropped.SHOWN, False)
    assert np.abs(shown_pictures(target)[3].astype(int) - 113).max() < 40, "nothing of the border"


@pytest.mark.parametrize("kind", ["matroska", "mp4"])
def test_a_file_that_ends_anywhere_in_its_tables_is_read_or_refused(tmp_path, kind):
    whole = make(tmp_path, kind).read_bytes()
    target = tmp_path / "cut"
    for length in range(40, len(whole), max(1, len(whole) // 60)):
        target.write_bytes(whole[:length])
        try:
            probe(target)
        except MediaUnreadable:
            continue
