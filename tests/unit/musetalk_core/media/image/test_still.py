"""Stills: every mode and orientation becomes one upright opaque picture."""

import zlib

import numpy as np
import pytest
from icc import rgb_profile
from PIL import Image

from musetalk_core.errors import MediaUnreadable
from musetalk_core.media.probe import probe
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.video.frames import FrameReader, open_scan, source_frames

CORNERS = [(200, 30, 30), (30, 180, 30), (40, 40, 210), (200, 200, 40)]  # RGB, clockwise from top left


def quarters(width=64, height=48):
    """An RGB image of four flat quarters."""
    image = np.zeros((height, width, 3), np.uint8)
    y, x = height // 2, width // 2
    image[:y, :x], image[:y, x:], image[y:, x:], image[y:, :x] = CORNERS
    return Image.fromarray(image)


def shown(path, limits=MediaLimits()):  # noqa: B008  frozen
    """The still as BGR, with its size checked against what probing says."""
    with open_scan(path, limits) as scan:
        (picture,) = scan
    video = probe(path, limits).video
    assert (picture.width, picture.height) == (video.width, video.height)
    assert (scan.index.frames, scan.index.is_still) == (1, True)
    return picture.bgr()


def corners(bgr):
    """The colours in the middle of the four quarters, RGB, clockwise from top left."""
    height, width = bgr.shape[:2]
    spots = [(1, 1), (1, 3), (3, 3), (3, 1)]
    return [tuple(int(v) for v in bgr[height * y // 4, width * x // 4, ::-1]) for y, x in spots]


def assert_near(found, wanted, tolerance=3):
    assert np.abs(np.array(found, int) - np.array(wanted, int)).max() <= tolerance, (found, wanted)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg"])
def test_colours_survive(tmp_path, name):
    quarters().save(tmp_path / name, quality=95)
    assert_near(corners(shown(tmp_path / name)), CORNERS, 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, orientation):
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = quarters()
    for step in undo.get(orientation, []):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.jpg", "a.png", "a.webp"):
        stored.save(tmp_path / name, exif=exif, quality=95)
        bgr = shown(tmp_path / name)
        assert bgr.shape == (48, 64, 3)
        assert_near(corners(bgr), CORNERS, 4)


def test_transparency_lies_on_white(tmp_path):
    image = quarters().convert("RGBA")
    alpha = np.full((48, 64), 255, np.uint8)
    alpha[:24, :32], alpha[24:, 32:] = 0, 128
    image.putalpha(Image.fromarray(alpha))
    half = [round(c * 128 / 255 + 127) for c in CORNERS[2]]
    for name in ("a.png", "a.webp"):
        image.save(tmp_path / name, lossless=True)
        assert_near(corners(shown(tmp_path / name)), [(255, 255, 255), CORNERS[1], half, CORNERS[3]])


def test_a_palette_with_a_transparent_colour_lies_on_white(tmp_path):
    image = Image.new("P", (64, 48), 1)
    image.putpalette([0, 0, 0, 200, 30, 30])
    image.paste(0, (0, 0, 32, 24))
    image.save(tmp_path / "a.png", transparency=0)
    red = CORNERS[0]
    assert_near(corners(shown(tmp_path / "a.png")), [(255, 255, 255), red, red, red])


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_stays_grey(tmp_path, mode):
    Image.new("L", (32, 32), 255).convert(mode).save(tmp_path / "a.png")
    assert_near(corners(shown(tmp_path / "a.png")), [(255, 255, 255)] * 4)


def test_16_bit_grey_is_scaled_not_clipped(tmp_path):
    Image.fromarray(np.full((32, 32), 100 * 257, np.uint16)).save(tmp_path / "a.png")
    assert_near(corners(shown(tmp_path / "a.png")), [(100, 100, 100)] * 4)


def test_cmyk_becomes_rgb(tmp_path):
    quarters().convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert_near(corners(shown(tmp_path / "a.jpg")), CORNERS, 5)


def test_odd_sides_repeat_their_edge(tmp_path):
    Image.fromarray(np.asarray(quarters(65, 47))).save(tmp_path / "a.png")
    bgr = shown(tmp_path / "a.png")
    assert bgr.shape == (48, 66, 3)
    assert_near(bgr[46, 10], bgr[47, 10])


def test_a_still_larger_than_a_video_frame_is_shrunk(tmp_path):
    quarters(400, 200).save(tmp_path / "a.png")
    bgr = shown(tmp_path / "a.png", MediaLimits(video_pixels=20_000))
    assert bgr.shape == (100, 200, 3)
    assert_near(corners(bgr), CORNERS)


def test_a_reader_gives_a_shrunk_still_the_size_of_its_index(tmp_path):
    quarters(401, 200).save(tmp_path / "a.png")
    with open_scan(tmp_path / "a.png", MediaLimits(video_pixels=20_000)) as scan:
        (wanted,) = scan
    with FrameReader(tmp_path / "a.png", scan.index) as reader:
        (found,) = reader.read([0])
    np.testing.assert_array_equal(found.i420, wanted.i420)


def test_a_cut_image_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    for name in ("a.png", "a.jpg", "a.webp"):
        Image.fromarray(noise).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(MediaUnreadable, match="damaged or cut off"):
            shown(tmp_path / name)


def test_one_pixel_is_refused(tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
    with pytest.raises(MediaUnreadable, match="1x1"):
        probe(tmp_path / "a.png")


def test_a_still_is_a_clip_of_one_frame_that_is_decoded_once(tmp_path):
    quarters().save(tmp_path / "a.png")
    with open_scan(tmp_path / "a.png") as scan:
        list(scan)
    times = source_frames(50, scan.index.rate, scan.index)
    with FrameReader(tmp_path / "a.png", scan.index) as reader:
        pictures = list(reader.read(times))
    assert len(pictures) == 50
    assert len({id(picture) for picture in pictures}) == 1


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_colors_are_converted_by_the_profile_of_the_picture(tmp_path, name):
    options = {"quality": 100} | ({"lossless": True} if name.endswith("webp") else {})
    Image.new("RGB", (64, 48), (60, 200, 60)).save(tmp_path / name, icc_profile=rgb_profile(), **options)
    blue, green, red = shown(tmp_path / name)[24, 32].astype(int)
    assert green > 200 and red < 40 and blue < 55, "green of P3 is more saturated than its numbers in sRGB"


def test_a_transparent_picture_with_a_profile_keeps_its_alpha(tmp_path):
    image = Image.new("RGBA", (64, 48), (60, 200, 60, 0))
    image.save(tmp_path / "a.png", icc_profile=rgb_profile())
    assert shown(tmp_path / "a.png").min() >= 254


@pytest.mark.parametrize("profile", [b"no profile at all" * 20, rgb_profile()[:200]])
def test_a_damaged_profile_is_ignored(tmp_path, profile):
    Image.new("RGB", (64, 48), (60, 200, 60)).save(tmp_path / "a.png", icc_profile=profile)
    assert_near([tuple(shown(tmp_path / "a.png")[24, 32, ::-1].tolist())], [(60, 200, 60)])


def test_cmyk_and_sixteen_bits_are_read(tmp_path):
    Image.new("CMYK", (64, 48), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    blue, green, red = shown(tmp_path / "a.jpg")[24, 32].astype(int)
    assert red > 230 and green < 40 and blue < 50
    deep = np.full((48, 64), 32_896, np.uint16)
    Image.fromarray(deep).save(tmp_path / "b.png")
    assert abs(int(shown(tmp_path / "b.png")[24, 32, 0]) - 128) <= 2


@pytest.mark.parametrize(("transfer", "is_refused"), [(16, True), (18, True), (13, False)])
def test_an_hdr_png_is_refused(tmp_path, transfer, is_refused):
    Image.new("RGB", (64, 48), (60, 200, 60)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    body = b"cICP" + bytes([9, transfer, 0, 1])
    chunk = (4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    if is_refused:
        with pytest.raises(MediaUnreadable, match="HDR"):
            probe(tmp_path / "a.png")
    else:
        probe(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_of_an_animated_picture_the_first_frame_is_used_with_a_warning(tmp_path, name):
    frames = [Image.new("RGB", (64, 48), color) for color in ("red", "green")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100, lossless=True)
    assert [text.split(":")[0] for text in probe(tmp_path / name).warnings] == ["first_frame_only"]
    assert shown(tmp_path / name)[24, 32, 2] > 230
