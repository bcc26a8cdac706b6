"""Whatever the source's depth, matrix, range, size or rotation: what is not the mouth keeps its bytes."""

import subprocess
from fractions import Fraction

import cv2
import numpy as np
import pytest

from musetalk_core.avatar import archive, prepare
from musetalk_core.compositing.oval_mask import blend_square
from musetalk_core.engine_registry import load_engine
from musetalk_core.formats.chunk_crops import CropReader
from musetalk_core.formats.float_rows import Float32RowArray
from musetalk_core.media.output.ffmpeg import find_ffmpeg
from musetalk_core.media.video.frame_reader import FrameReader
from musetalk_core.rendering.chunking import Chunk
from musetalk_core.rendering.compose import compose
from musetalk_core.rendering.render_chunk import Scene, render_chunk
from musetalk_core.speech.phones import Phone

RATE, FRAMES = Fraction(25), 14  # eight frames of source: forwards and almost all of the way back
WORDS = [Phone(0.0, 0.12, "AA"), Phone(0.12, 0.24, "M"), Phone(0.24, 0.6, "AO")]
TAGS = {
    "709": ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
    "601": ("-colorspace", "smpte170m", "-color_primaries", "smpte170m", "-color_trc", "smpte170m"),
}
CLIPS = {  # pixel format, matrix, range, size, turned by
    "709": ("yuv420p", "709", "tv", (256, 256), 0),
    "601": ("yuv420p", "601", "tv", (256, 256), 0),
    "709-full": ("yuv420p", "709", "pc", (256, 256), 0),
    "601-full": ("yuv420p", "601", "pc", (256, 256), 0),
    "10-bit": ("yuv420p10le", "709", "tv", (256, 256), 0),
    "10-bit-422-lying": ("yuv422p10le", "709", "tv", (256, 300), 90),
    "lying": ("yuv420p", "601", "tv", (256, 300), 90),
    "upside-down": ("yuv420p", "709", "tv", (256, 300), 180),
    "odd-width": ("yuv444p", "709", "tv", (257, 256), 0),
    "odd-both": ("yuv444p", "601", "tv", (257, 259), 0),
}
STILLS = {"odd.png": 3, "alpha.png": 4, "odd.jpg": 3, "alpha.webp": 4}


def pictures(portrait, width, height):
    """The portrait, swaying a little."""
    for number in range(8):
        move = np.float32([[width / 512, 0, 3 * np.sin(number)], [0, height / 512, 2 * np.cos(number)]])
        yield cv2.warpAffine(portrait, move, (width, height), borderMode=cv2.BORDER_REPLICATE)


def write_clip(path, portrait, pixels, matrix, span, size, turned):
    shown = [np.rot90(p, -turned // 90) for p in pictures(portrait, *size)]
    height, width = shown[0].shape[:2]
    words = [find_ffmpeg(None), "-v", "error", "-nostdin", "-f", "rawvideo", "-pix_fmt", "bgr24"]
    words += ["-s", f"{width}x{height}", "-r", "25", "-i", "-"]
    words += ["-vf", f"scale=out_color_matrix=bt{matrix}:out_range={span}", "-pix_fmt", pixels, *TAGS[matrix]]
    words += ["-color_range", span, "-c:v", "libx264", "-preset", "ultrafast", "-crf", "14"]
    plain = path.with_name("plain.mp4")
    subprocess.run([*words, plain], input=np.stack(shown).tobytes(), check=True)
    turn = [find_ffmpeg(None), "-v", "error", "-nostdin", "-display_rotation", str(turned), "-i", plain]
    subprocess.run([*turn, "-c", "copy", path], check=True)
    return path


def write_still(path, portrait, channels):
    picture = cv2.resize(portrait, (301, 299), interpolation=cv2.INTER_AREA)
    if channels == 4:
        alpha = np.full(picture.shape[:2], 255, np.uint8)
        alpha[:30] = 90
        picture = np.dstack([picture, alpha])
    cv2.imwrite(str(path), picture)
    return path


def planes(picture, keep):
    """The bytes of a picture where `keep`, (H, W) bool, is True; chroma by the blocks' first pixels."""
    half = keep[::2, ::2]
    return np.concatenate([picture.y[keep], picture.u[half], picture.v[half]])


def check(source, name, folder, reading):
    """Every byte outside the crop box is the source's, and those above the reach of the core's mask."""
    engine = load_engine(name)
    (folder / "avatar").mkdir()
    (folder / "crops").mkdir()
    prepare.prepare_avatar(prepare.AvatarRequest(source, "0" * 64), engine, folder / "avatar")
    made = archive.load_avatar(folder / "avatar")
    scene, chunk = Scene(made, source, RATE), Chunk(0, 0, FRAMES)
    heard = Float32RowArray.from_blocks(engine.encode_audio(reading, FRAMES, RATE, WORDS))
    render_chunk(scene, engine, heard, chunk, folder / "crops")
    crops = CropReader.open(folder / "crops")
    sources = crops.sources.tolist()
    with FrameReader(made.source_path(source), made.index) as reader:
        before = list(reader.read(sources))
    for number, (old, new) in enumerate(zip(before, compose(scene, engine, crops, chunk), strict=True)):
        box = made.box(sources[number])
        keep = np.ones(old.y.shape, bool)
        keep[box.slices()] = False
        if engine.name != "viseme":
            square = blend_square(box)
            side = square.x2 - square.x1
            top = square.y1 + side // 2 - (int(0.05 * side // 2 * 2) + 1) // 2
            keep[: max(0, top & ~1)] = True
        np.testing.assert_array_equal(planes(new, keep), planes(old, keep))
        assert (new.i420 != old.i420).any()


@pytest.mark.parametrize("engine", ["viseme", "fake"])
@pytest.mark.parametrize("clip", CLIPS)
def test_a_clip_changes_only_where_the_mouth_is(clip, engine, portrait, tmp_path, reading):
    check(write_clip(tmp_path / "clip.mp4", portrait, *CLIPS[clip]), engine, tmp_path, reading)


@pytest.mark.parametrize("engine", ["viseme", "fake"])
@pytest.mark.parametrize("name", STILLS)
def test_a_still_changes_only_where_the_mouth_is(name, engine, portrait, tmp_path, reading):
    check(write_still(tmp_path / name, portrait, STILLS[name]), engine, tmp_path, reading)
