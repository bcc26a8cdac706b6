"""When frames are shown: pictures that start late, clocks that start again, slow and fast sources."""

from fractions import Fraction

import av
import numpy as np
import pytest

from musetalk_core.media.frame_rates import render_rate
from musetalk_core.media.probe import probe
from musetalk_core.media.video.frames import FrameReader, open_scan, source_frames, write_proxy


def indexed(path):
    with open_scan(path) as scan:
        pictures = [picture.y.mean() for picture in scan]
    return scan.index, pictures


def late_picture(path, late_s=0.5, rate=25):
    """Two seconds of sound; the picture starts late and flashes at 1.0 s."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"bf": "0", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        track = container.add_stream("aac", rate=48000, layout="mono")
        for number in range(0, 96_000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, number
            container.mux(track.encode(frame))
        container.mux(track.encode())
        first = round(late_s * rate)
        for number in range(first, 2 * rate):
            luma = 235 if number == rate else 40 + number
            frame = av.VideoFrame.from_ndarray(np.full((72, 64), luma, np.uint8), "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_picture_that_starts_late_flashes_with_the_beep(tmp_path, name):
    path = late_picture(tmp_path / name)
    index, luma = indexed(path)
    assert abs(float(index.lead * index.time_base) - 0.5) < 0.05
    shown = [luma[number] for number in source_frames(50, Fraction(25), index)]
    assert abs(int(np.argmax(shown)) - 25) <= 1
    assert len(set(shown[:10])) == 1, "the first picture is shown until then"


def test_the_late_start_survives_the_index_file_the_proxy_and_the_way_back(tmp_path):
    path = late_picture(tmp_path / "a.mp4")
    index, _ = indexed(path)
    index.save(tmp_path / "index.npz")
    assert type(index).load(tmp_path / "index.npz").lead == index.lead
    copy = write_proxy(path, tmp_path / "proxy.mp4", index)
    there = source_frames(50, Fraction(25), index).tolist()
    back = source_frames(100, Fraction(25), index).tolist()[50:]
    assert source_frames(50, Fraction(25), copy).tolist() == there
    assert np.abs(np.array(back) - np.array(there[::-1])).max() <= 1


def test_joined_broadcast_recordings_play_one_after_the_other(clips, tmp_path):
    parts = [
        clips.moving(f"{n}.ts", "-c:v", "libx264", "-g", "10", "-bf", "0", seconds=n).read_bytes()
        for n in (1, 1.04)
    ]
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    index, _ = indexed(tmp_path / "joined.ts")
    assert index.frames >= 50
    assert abs(float(index.duration_s) - 2.04) < 0.1
    frames = source_frames(50, Fraction(25), index)
    assert np.abs(np.diff(frames)).max() <= 2


@pytest.mark.parametrize(
    ("source", "rendered"),
    [
        ("1", "25"), ("5", "25"), ("10", "30"), ("12", "24"), ("25/2", "25"), ("15", "30"), ("19", "38"),
        ("20", "20"), ("24000/1001", "24000/1001"), ("25", "25"), ("60", "60"), ("120", "120"),
        ("240", "60"), ("240000/1001", "60000/1001"), ("480", "60"), ("150", "50"),
    ],
)  # fmt: skip
def test_lips_move_at_a_usual_rate(source, rendered):
    assert render_rate(Fraction(source), 120) == Fraction(rendered)


@pytest.mark.parametrize(
    ("rate", "rendered", "code"),
    [("1", 25, "low_frame_rate"), ("240", 60, "high_frame_rate"), ("30", 30, None)],
)
def test_odd_rates_are_rendered_with_a_warning(clips, rate, rendered, code):
    path = clips.moving(f"{rate}.mp4", "-c:v", "libx264", rate=rate, seconds=1 if rate == "240" else 4)
    info = probe(path)
    assert info.video.render_rate == rendered
    assert [text.split(":")[0] for text in info.warnings] == ([code] if code else [])
    index, _ = indexed(path)
    frames = source_frames(rendered, Fraction(rendered), index)
    assert abs(int(frames[-1]) - (int(rate) - 1)) <= int(rate) // rendered + 1


def combs(picture):
    """How much more neighboring lines differ than lines of the same field."""
    y = picture[16:-16, 16:-16].astype(np.float32)
    return np.abs(y[1:-1] - y[2:]).mean() / (np.abs(y[:-2] - y[2:]).mean() + 0.5)


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.mp4", ("-c:v", "libx264", "-flags", "+ilme+ildct")),
        ("a.ts", ("-c:v", "mpeg2video", "-q:v", "2", "-flags", "+ilme+ildct")),
    ],
)
def test_interlaced_pictures_have_no_combs(clips, tmp_path, order, name, words):
    path = clips.make(
        f"{order}-{name}", "-f", "lavfi", "-i",
        f"testsrc=s=320x240:r=50:d=1,scroll=h=0.03,interlace=scan={order}", *words,
    )  # fmt: skip
    with av.open(str(path)) as container:
        raw = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    with open_scan(path) as scan:
        clean = [picture.y.copy() for picture in scan]
    assert len(clean) == len(raw)
    assert np.median([combs(y) for y in raw]) > 1.2 * np.median([combs(y) for y in clean])
    assert np.median([combs(y) for y in clean]) < 1.05
    # What depends on its neighbors is read from a copy, so that every frame is the same on every way to it.
    assert not scan.index.is_seekable
    copy = write_proxy(path, tmp_path / "proxy.mp4", scan.index)
    with FrameReader(tmp_path / "proxy.mp4", copy, budget_bytes=0) as reader:
        for number in (20, 3, 11):
            (picture,) = reader.read([number])
            np.testing.assert_array_equal(picture.y, clean[number])
