"""Pictures to look at: every format, upright, whatever their colours; bombs and broken ones refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from musetalk_core.errors import MediaTooLarge, MediaUnreadable
from musetalk_core.media.image.photo import check_photo, read_photo
from musetalk_core.media.source.limits import MediaLimits

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def corners():
    """60x40 with a red, a green and a blue corner: no two turns look the same."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:10, :15], pixels[:10, 45:], pixels[30:, 45:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return Image.fromarray(pixels)


def saved(path, image, kind, **options):
    image.save(path, kind, **options)
    return path


def rgb(path):
    return read_photo(path, MediaLimits()).bgr[..., ::-1].astype(int)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_data_says(kind, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "p", corners(), kind, exif=exif)

    shown = corners().transpose(TURNS[orientation]) if orientation > 1 else corners()
    got = rgb(path)
    assert got.shape == np.asarray(shown).shape
    assert np.abs(got - np.asarray(shown)).mean() < 12


MODES = {"1": "PNG", "L": "PNG", "LA": "PNG", "P": "PNG", "RGBA": "PNG", "CMYK": "JPEG", "YCbCr": "JPEG"}


@pytest.mark.parametrize("mode", MODES)
def test_any_colour_mode_is_read(mode, tmp_path):
    got = rgb(saved(tmp_path / "p", corners().convert(mode), MODES[mode]))

    grey = mode in ("1", "L", "LA")
    assert got.shape == (40, 60, 3)
    assert (np.ptp(got[5, 5]) == 0) if grey else (np.abs(got[5, 5] - (255, 0, 0)).max() < 20)
    assert got[20, 30].max() < 10


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_brightness(kind, tmp_path):
    deep = np.full((20, 30), 40_000, np.uint16)

    assert abs(rgb(saved(tmp_path / "p", Image.fromarray(deep), kind)).mean() - 40_000 / 257) < 1


def test_floats_from_zero_to_one_keep_their_brightness_and_holes_are_black(tmp_path):
    deep = np.full((20, 30), 0.6, np.float32)
    deep[0, 0] = np.nan

    got = rgb(saved(tmp_path / "p", Image.fromarray(deep), "TIFF"))

    assert got[0, 0].max() == 0 and abs(got[5, 5].mean() - 153) < 1


def test_what_is_transparent_is_white(tmp_path):
    clear = Image.new("RGBA", (20, 30), (10, 20, 30, 0))
    palette = Image.new("P", (20, 30), 3)

    assert rgb(saved(tmp_path / "p", clear, "PNG")).min() == 255
    assert rgb(saved(tmp_path / "q", palette, "GIF", transparency=3)).min() == 255


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first_counts(kind, tmp_path):
    second = corners().transpose(Image.Transpose.ROTATE_180)
    path = saved(tmp_path / "p", corners(), kind, save_all=True, append_images=[second])

    photo = read_photo(path, MediaLimits())

    assert photo.is_part and np.abs(photo.bgr[5, 5].astype(int) - (0, 0, 255)).max() < 20
    assert not read_photo(saved(tmp_path / "q", corners(), kind), MediaLimits()).is_part


def test_odd_sides_stay_odd(tmp_path):
    assert read_photo(saved(tmp_path / "p", Image.new("RGB", (7, 5)), "BMP"), MediaLimits()).size == (7, 5)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "GIF", "BMP"])
def test_a_cut_file_is_refused(kind, tmp_path):
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (90, 90, 3), np.uint8))
    whole = saved(tmp_path / "p", noise, kind).read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(MediaUnreadable):
        read_photo(cut, MediaLimits())


def bomb(width, height):
    def part(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = part(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + body + part(b"IEND", b"")


@pytest.mark.parametrize("size", [(30_000, 30_000), (8000, 7000), (2_000_000, 40)])
def test_a_bomb_is_refused_by_its_header(size, tmp_path):
    (tmp_path / "p").write_bytes(bomb(*size))

    for look in (check_photo, read_photo):
        with pytest.raises(MediaTooLarge):
            look(tmp_path / "p", MediaLimits())


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "AVIF", "WEBP"])
def test_a_limit_holds_for_every_format(kind, tmp_path):
    path = saved(tmp_path / "p", Image.new("RGB", (200, 100)), kind)

    with pytest.raises(MediaTooLarge):
        check_photo(path, MediaLimits(still_pixels=19_999))
    assert check_photo(path, MediaLimits(still_pixels=20_000)).name == kind.lower()


def heic():
    return struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + b"\0" * 64


REFUSED = {
    "empty": (b"", "empty"),
    "text": (b"no picture, only words. " * 20, "text"),
    "a photo of another kind": (heic(), "HEIC"),
    "a page": (b"<html><img src='file:///etc/passwd'></html>", "web page"),
    "a document": (b"%PDF-1.7 " + b"\1" * 50, "PDF"),
    "sound": (b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 60, "video or audio"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "text"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_by_name(name, tmp_path):
    data, word = REFUSED[name]
    (tmp_path / "picture.png").write_bytes(data)

    with pytest.raises(MediaUnreadable, match=word):
        check_photo(tmp_path / "picture.png", MediaLimits())


def test_colours_that_cannot_be_read_are_told(tmp_path):
    path = saved(tmp_path / "p", Image.new("LAB", (20, 20)), "TIFF")

    with pytest.raises(MediaUnreadable, match="LAB"):
        read_photo(path, MediaLimits())


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow tells what is wrong with the noise
def test_noise_after_a_magic_number_is_refused(tmp_path):
    noise = np.random.default_rng(5).bytes(3000)
    bmp, avif, webp = b"BM" + bytes(12) + b"\x28\0\0\0", b"\0\0\0\x1cftypavif", b"RIFF\0\x0b\0\0WEBP"
    for start in (b"GIF89a", b"II*\0", b"MM\0*", bmp, avif, webp):
        (tmp_path / "p").write_bytes(start + noise)
        with pytest.raises((MediaUnreadable, MediaTooLarge)):
            read_photo(tmp_path / "p", MediaLimits())
