"""Proxies: a source that cannot be read backwards gets a lossless copy that can."""

import zlib

import pytest

from musetalk_core.errors import DiskFull
from musetalk_core.media.video import proxy
from musetalk_core.media.video.frames import FrameReader, open_scan, write_proxy

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def scanned(path):
    with open_scan(path) as scan:
        sums = [zlib.crc32(picture.i420) for picture in scan]
    return sums, scan.index


@pytest.mark.parametrize("filters", ["null", "select='mod(n,7)'"], ids=["constant", "uneven"])
def test_a_clip_with_one_long_group_is_copied_losslessly(clips, tmp_path, filters):
    words = ("-vf", filters, "-fps_mode", "vfr", "-g", "10000")
    path = clips.moving("a.mp4", *words, *X264, size="64x48", seconds=30)
    sums, index = scanned(path)
    assert not index.is_seekable

    copied = write_proxy(path, tmp_path / "proxy.mp4", index)

    again, measured = scanned(tmp_path / "proxy.mp4")
    assert again == sums
    assert measured.is_seekable
    assert (measured.rate, measured.is_constant) == (index.rate, index.is_constant)
    numbers = [*reversed(range(index.frames)), 5, 4, 3]
    with FrameReader(tmp_path / "proxy.mp4", copied, 40 * 64 * 48) as reader:
        assert [zlib.crc32(picture.i420) for picture in reader.read(numbers)] == [sums[n] for n in numbers]
    shown = [index.pts[n] * index.time_base - index.pts[0] * index.time_base for n in range(index.frames)]
    assert [pts * measured.time_base for pts in measured.pts.tolist()] == shown
    assert (copied.duration_s, copied.frames) == (index.duration_s, index.frames)


def test_a_proxy_that_would_not_fit_is_not_begun(clips, tmp_path, monkeypatch):
    path = clips.moving("a.mp4", *X264)
    _, index = scanned(path)
    monkeypatch.setattr(proxy, "_RESERVED_BYTES", 10**18)
    with pytest.raises(DiskFull, match="scratch space"):
        write_proxy(path, tmp_path / "proxy.mp4", index)
    assert list(tmp_path.iterdir()) == []
