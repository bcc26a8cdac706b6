"""The frame table by itself: small on disk, exact in time."""

from fractions import Fraction

import numpy as np
import pytest

from musetalk_core.errors import MediaUnreadable
from musetalk_core.media.video.frame_index import VideoIndex, has_constant_rate, still_index


def table(pts, base=Fraction(1, 1000), last=40, rate=Fraction(25), **changes):
    pts = np.array(pts, np.int64)
    keys = np.arange(len(pts)) % 10 == 0
    values = {"width": 64, "height": 48, "rate": rate, "is_seekable": True, "is_still": False, **changes}
    return VideoIndex(pts, keys, base, int(pts[-1] - pts[0]) + last, **values)


def test_an_index_survives_the_disk_at_about_8_bytes_a_frame(tmp_path):
    index = table(np.arange(108_000) * 40 + 7, rate=Fraction(30000, 1001), is_seekable=False)
    index.save(tmp_path / "a.npz")
    back = VideoIndex.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(back.pts, index.pts)
    np.testing.assert_array_equal(back.keys, index.keys)
    for name in ("time_base", "duration", "width", "height", "rate", "is_seekable", "is_still"):
        assert getattr(back, name) == getattr(index, name)
    assert (tmp_path / "a.npz").stat().st_size < 9 * 108_000
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_the_same_index_makes_the_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        table([0, 40, 80]).save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("damage", ["cut", "garbage", "pickle"])
def test_a_damaged_index_is_refused(tmp_path, damage):
    path = tmp_path / "a.npz"
    table([0, 40, 80]).save(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "garbage":
        path.write_bytes(b"not an archive")
    else:
        np.savez(path, pts=np.array([{}], object), keys=np.zeros(1, np.uint8), numbers=np.zeros(11, np.int64))
    with pytest.raises(MediaUnreadable, match="prepare the clip again"):
        VideoIndex.load(path)


def test_the_frame_on_screen_is_the_last_one_begun():
    index = table([100, 140, 200, 240])
    times = {0: 0, Fraction(39, 1000): 0, Fraction(40, 1000): 1, Fraction(99, 1000): 1, Fraction(1, 10): 2}
    for time, frame in times.items():
        assert index.frame_at(time) == frame


def test_times_outside_the_clip_are_clipped():
    index = table([100, 140, 200, 240])
    assert (index.frame_at(Fraction(-5)), index.frame_at(Fraction(99))) == (0, 3)


def test_a_still_lasts_one_frame():
    index = still_index(64, 48, Fraction(25))
    assert (index.frames, index.duration_s, index.is_still) == (1, Fraction(1, 25), True)


def test_rounded_timestamps_are_even_and_a_dropped_frame_is_not():
    rate = Fraction(24000, 1001)
    rounded = np.round(np.arange(50_000) * 1001 / 24).astype(np.int64)
    assert has_constant_rate(rounded, Fraction(1, 1000), rate)
    assert not has_constant_rate(np.delete(rounded, 5), Fraction(1, 1000), rate)
    assert not has_constant_rate(rounded, Fraction(1, 1000), Fraction(24))


def test_a_group_starts_at_the_key_frame_before():
    index = table(np.arange(25) * 40)
    assert [index.group_start(number) for number in (0, 9, 10, 24)] == [0, 0, 10, 20]
