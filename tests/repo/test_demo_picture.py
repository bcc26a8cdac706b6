"""The animation at the top of README.md, and the script that makes it."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "docs" / "images" / "make_demo_picture.py"
PANEL = 320


def clip(path, levels):
    """Write a clip of 25 gray frames per second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for level in levels:
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def picture(path, level):
    Image.new("RGB", (96, 64), (level, level, level)).save(path)
    return path


def shown(path):
    """Return the gray level of both panels in each frame of an animation."""
    with Image.open(path) as animation:
        for number in range(animation.n_frames):
            animation.seek(number)
            pixels = np.asarray(animation.convert("L"))
            yield int(pixels[50, PANEL // 2]), int(pixels[50, PANEL + PANEL // 2])


def test_the_picture_of_the_readme_is_a_small_animation():
    path = ROOT / "docs" / "images" / "demo.webp"

    assert path.stat().st_size < 1_500_000
    with Image.open(path) as animation:
        assert (animation.format, animation.is_animated, animation.width) == ("WEBP", True, 2 * PANEL)
        assert animation.info["loop"] == 0
        assert 2 * 12 <= animation.n_frames <= 3 * 12


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_pages_show_the_picture_and_say_what_it_shows(page):
    line = next(row for row in (ROOT / page).read_text(encoding="utf-8").splitlines() if "demo.webp" in row)
    alt, _, link = line.removeprefix("![").rstrip(")").partition("](")

    assert len(alt) > 40
    assert ((ROOT / page).parent / link).is_file()


@pytest.mark.parametrize("kind", ["clip", "picture"])
def test_the_script_shows_source_and_result_at_the_same_time(tmp_path, kind):
    levels = range(20, 220, 8)
    result = clip(tmp_path / "result.mp4", levels)
    if kind == "clip":
        source = clip(tmp_path / "source.mp4", reversed(levels))
    else:
        source = picture(tmp_path / "source.png", 120)
    output = tmp_path / "made.webp"
    given = {"source": source, "result": result, "output": output, "start": 0.2, "seconds": 0.5}
    options = [str(word) for name, value in given.items() for word in (f"--{name}", value)]
    subprocess.run([sys.executable, SCRIPT, *options], check=True, capture_output=True)

    with Image.open(output) as animation:
        assert (animation.width, animation.n_frames, animation.info["loop"]) == (2 * PANEL, 6, 0)
    for number, (left, right) in enumerate(shown(output)):
        frame = int((0.2 + number / 12) * 25 + 1e-6)
        assert right == pytest.approx(levels[frame], abs=6)
        assert left == pytest.approx(levels[-1 - frame] if kind == "clip" else 120, abs=6)
