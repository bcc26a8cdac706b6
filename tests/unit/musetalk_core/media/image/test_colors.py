"""Normalising: whatever the source's pixels are, the picture shows the same colours, upright."""

import numpy as np
import pytest

from musetalk_core.media.video.frames import open_scan

COLOUR = (200, 60, 40)  # RGB
HEX = "0xC83C28"
LOSSLESS = ("-c:v", "libx264", "-qp", "0", "-preset", "ultrafast")
FFV1 = ("-c:v", "ffv1")


def first(path):
    with open_scan(path) as scan:
        return next(iter(scan))


def assert_colour(picture, wanted=COLOUR, tolerance=3):
    bgr = picture.bgr()
    found = bgr[bgr.shape[0] // 2, bgr.shape[1] // 2, ::-1].astype(int)
    assert np.abs(found - wanted).max() <= tolerance, found


def tagged(matrix, span="tv"):
    return ("-colorspace", matrix, "-color_range", span)


def scaled(matrix, pixels, span="tv"):
    return (
        f"scale=out_color_matrix={matrix}:out_range={span}:flags=accurate_rnd+full_chroma_int,format={pixels}"
    )


@pytest.mark.parametrize(
    ("matrix", "tag"),
    [("bt601", "smpte170m"), ("bt601", "bt470bg"), ("bt709", "bt709"), ("bt2020", "bt2020nc")],
)
@pytest.mark.parametrize("span", ["tv", "pc"])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p10le", "yuv444p"])
def test_every_matrix_range_and_depth_shows_the_same_colour(clips, matrix, tag, span, pixels):
    path = clips.flat("a.mkv", HEX, scaled(matrix, pixels, span), *FFV1, *tagged(tag, span), size="64x48")
    assert_colour(first(path))


@pytest.mark.parametrize(
    ("size", "matrix"),
    [("720x480", "bt601"), ("1280x718", "bt601"), ("1280x720", "bt709"), ("576x768", "bt709")],
)
def test_untagged_content_is_601_below_720_lines_and_709_from_there(clips, size, matrix):
    path = clips.flat("a.mp4", HEX, scaled(matrix, "yuv420p"), *LOSSLESS, size=size)
    assert_colour(first(path))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.mov", ("-c:v", "png", "-pix_fmt", "rgb24")),
        ("a.mov", ("-c:v", "qtrle", "-pix_fmt", "rgb24")),
        ("a.mkv", ("-c:v", "ffv1", "-pix_fmt", "bgr0")),
        ("a.mp4", ("-c:v", "libx264rgb", "-qp", "0")),
        ("a.mkv", ("-c:v", "ffv1", "-pix_fmt", "gbrp10le")),
    ],
)
def test_rgb_sources_show_the_same_colour(clips, name, words):
    assert_colour(first(clips.flat(name, HEX, "null", *words)))


def test_grey_sources_stay_grey(clips):
    for pixels in ("gray", "gray10le"):
        path = clips.flat("a.mkv", "0x646464", f"format={pixels}", "-c:v", "ffv1", "-pix_fmt", pixels)
        assert_colour(first(path), (100, 100, 100))


@pytest.mark.parametrize(
    "words",
    [
        ("-c:v", "qtrle", "-pix_fmt", "argb"),
        ("-c:v", "png", "-pix_fmt", "rgba"),
        ("-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le"),
    ],
    ids=lambda words: words[1],
)
@pytest.mark.parametrize("opacity", [0.0, 0.5, 1.0])
def test_transparent_video_lies_on_white(clips, words, opacity):
    filters = f"format=rgba,colorchannelmixer=aa={opacity}"
    wanted = [round(c * opacity + 255 * (1 - opacity)) for c in COLOUR]
    assert_colour(first(clips.flat("a.mov", HEX, filters, *words)), wanted, 4)


def test_a_plain_709_frame_keeps_its_bytes(clips):
    path = clips.moving("a.mp4", *LOSSLESS, "-pix_fmt", "yuv420p", *tagged("bt709"), seconds=0.2)
    raw = clips.make("a.yuv", "-i", path, "-f", "rawvideo", "-pix_fmt", "yuv420p").read_bytes()
    with open_scan(path) as scan:
        assert b"".join(picture.i420.tobytes() for picture in scan) == raw


def test_odd_sides_repeat_their_edge_and_keep_their_bytes(clips):
    filters = ("-vf", "scale=161:121,setparams=colorspace=bt709:range=tv")
    path = clips.moving("a.mkv", *filters, "-pix_fmt", "yuv420p", *FFV1, seconds=0.1)
    raw = clips.make(
        "a.yuv", "-i", path, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-frames:v", "1"
    ).read_bytes()
    luma = np.frombuffer(raw, np.uint8, 161 * 121).reshape(121, 161)
    picture = first(path)
    np.testing.assert_array_equal(picture.y[:121, :161], luma)
    np.testing.assert_array_equal(picture.y[:, 161], picture.y[:, 160])
    np.testing.assert_array_equal(picture.y[121], picture.y[120])
    np.testing.assert_array_equal(picture.u.ravel(), np.frombuffer(raw, np.uint8, 81 * 61, 161 * 121))


@pytest.mark.parametrize(
    "mirror", [(), ("-display_hflip",), ("-display_vflip",)], ids=lambda words: "".join(words)
)
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_display_matrix_turns_the_picture_as_ffmpeg_does(clips, degrees, mirror):
    stored = clips.moving("a.mp4", *LOSSLESS, "-pix_fmt", "yuv420p", *tagged("bt709"), seconds=0.1)
    path = clips.make("turned.mp4", "-display_rotation", str(degrees), *mirror, "-i", stored, "-c", "copy")
    raw = clips.make(
        "a.yuv", "-i", path, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-frames:v", "1"
    ).read_bytes()
    picture = first(path)
    assert (picture.width, picture.height) == ((120, 160) if degrees % 180 else (160, 120))
    assert picture.i420.tobytes() == raw


def test_pixels_that_are_not_square_are_stretched(clips):
    path = clips.flat("a.mp4", HEX, f"{scaled('bt709', 'yuv420p')},setsar=2/1", *LOSSLESS, *tagged("bt709"))
    picture = first(path)
    assert (picture.width, picture.height) == (320, 120)
    assert_colour(picture)


def test_a_stream_that_changes_its_size_keeps_the_first(clips):
    parts = [clips.moving(f"{size}.ts", *LOSSLESS, size=size, seconds=0.2) for size in ("160x120", "320x240")]
    path = clips.folder / "changing.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with open_scan(path) as scan:
        assert {picture.i420.shape for picture in scan} == {(180, 160)}
