"""
Write the pictures of docs/how-to/studio.md from the screenshots of the browser tests.

    TEST_SHOTS=/tmp/shots .venv/bin/python -m pytest -m stack tests/e2e/test_studio_tour.py
    .venv/bin/python docs/images/make_studio_pictures.py /tmp/shots
"""

import argparse
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
NAMES = ("studio-new", "studio-check", "studio-running", "studio-result", "studio-jobs", "studio-avatars")
WIDTH = 960
QUALITY = 78


def write_picture(screenshot: Path, target: Path) -> None:
    """Scale a screenshot to the width of the pages and write it as WebP."""
    with Image.open(screenshot) as image:
        height = round(image.height * WIDTH / image.width)
        image.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS).save(
            target, quality=QUALITY, method=6
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder with the screenshots")
    folder = parser.parse_args().folder
    for name in NAMES:
        write_picture(folder / f"{name}.png", HERE / f"{name}.webp")
