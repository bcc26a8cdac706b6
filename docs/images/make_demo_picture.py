"""
Write docs/images/demo.webp: the source of a `./run demo` job and its result, side by side, as an animation.

    ./run demo
    .venv/bin/python docs/images/make_demo_picture.py

The source is a picture or a clip. `--help` lists the options.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PICTURE = ROOT / "deployments" / "assets" / "astronaut.jpg"
RESULT = Path("demo") / "portrait.mp4"

FPS = 12
PANEL = 320
"""Width of one panel in pixels."""
LABELS = ("source", "result")
LABEL_HEIGHT = 24


@dataclass(frozen=True, slots=True)
class Cut:
    """
    The part of both files that is shown.

    Attributes:
        start_s: first second.
        seconds: length of the animation.
        crop:    left, top, right and bottom edge as fractions of the frame.
    """

    start_s: float = 0.2
    seconds: float = 2.5
    crop: tuple[float, float, float, float] = (0.2, 0.0, 0.66, 0.46)

    @property
    def times(self) -> list[float]:
        """The times of the frames, in seconds."""
        return [self.start_s + n / FPS for n in range(round(self.seconds * FPS))]


def _frames(path: Path, times: list[float]) -> Iterator[Image.Image]:
    """Yield the frame shown at each of the ascending times: the last one that starts no later."""
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        shown = upcoming = next(frames)
        for time in times:
            while upcoming is not None and (upcoming.time or 0.0) <= time:
                shown, upcoming = upcoming, next(frames, None)
            yield shown.to_image()


def _panel(frame: Image.Image, crop: tuple[float, float, float, float]) -> Image.Image:
    left, top, right, bottom = crop
    width, height = frame.size
    part = frame.crop(
        (round(left * width), round(top * height), round(right * width), round(bottom * height))
    )
    return part.resize((PANEL, round(PANEL * part.height / part.width)), Image.Resampling.LANCZOS)


def _sheet(panels: tuple[Image.Image, ...]) -> Image.Image:
    """Return the panels side by side, each with its label below."""
    height = max(panel.height for panel in panels)
    sheet = Image.new("RGB", (PANEL * len(panels), height + LABEL_HEIGHT), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (panel, label) in enumerate(zip(panels, LABELS, strict=True)):
        sheet.paste(panel, (number * PANEL, 0))
        middle = (number * PANEL + PANEL // 2, height + LABEL_HEIGHT // 2)
        draw.text(middle, label, fill="black", font=ImageFont.load_default(14), anchor="mm")
    return sheet


def write_picture(source: Path, result: Path, output: Path, cut: Cut) -> None:
    """Write source and result side by side as an endless animated WebP."""
    pairs = zip(_frames(source, cut.times), _frames(result, cut.times), strict=True)
    first, *rest = [_sheet(tuple(_panel(frame, cut.crop) for frame in pair)) for pair in pairs]
    durations = [round((n + 1) * 1000 / FPS) - round(n * 1000 / FPS) for n in range(len(rest) + 1)]
    first.save(output, save_all=True, append_images=rest, duration=durations, loop=0, quality=75, method=6)


def main() -> None:
    """Parse the command line and write the picture."""
    default = Cut()
    parser = argparse.ArgumentParser(
        description="Write the picture of README.md from the files of ./run demo."
    )
    parser.add_argument("--source", type=Path, default=PICTURE, help="picture or clip (default: %(default)s)")
    parser.add_argument(
        "--result", type=Path, default=RESULT, help="result of the job (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=HERE / "demo.webp", help="default: %(default)s")
    parser.add_argument(
        "--start", type=float, default=default.start_s, help="first second (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=default.seconds, help="default: %(default)s")
    crop_help = "left, top, right and bottom edge (default: the head of the demo's picture)"
    parser.add_argument(
        "--crop", type=float, nargs=4, default=default.crop, metavar="FRACTION", help=crop_help
    )
    given = parser.parse_args()
    left, top, right, bottom = given.crop
    write_picture(
        given.source, given.result, given.output, Cut(given.start, given.seconds, (left, top, right, bottom))
    )
    print(f"{given.output}: {given.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
