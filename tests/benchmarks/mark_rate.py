"""
Detection rate of the imperceptible mark in pictures: many pieces of 5 s, with a confidence interval.

`mark_rate.py [MINUTES] [SEED] [SIDE,...]` stops after so many minutes of CPU time (default 15) and prints the
rates after each clip; with numbers of pixels, of pieces whose shorter side has so many. A clip is a random
part of a photograph as a video of 8 s, still, panning or zooming, with random brightness and grain; it is
marked and encoded as jobs do, and pieces of it are encoded again.
"""

import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from fractions import Fraction
from math import sqrt
from pathlib import Path

import cv2
import numpy as np
from media import ASSETS

from musetalk_core.imperceptible_mark.file_detection import detect_mark
from musetalk_core.imperceptible_mark.key import MarkKey
from musetalk_core.imperceptible_mark.picture_marker import PictureMarker
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.output.ffmpeg import find_ffmpeg
from musetalk_core.media.output.video_encoder import VideoEncoder

KEY = MarkKey(b"benchmark" * 4)
RATE = Fraction(25)
CLIP_S, PIECE_S = 8, 5
SIZES = ((1280, 720), (720, 1280), (960, 960), (854, 480), (640, 480), (576, 1024))
MARGIN = 32
"""Pixels that a panning picture moves."""
SCALE = "scale='if(gt(iw,ih),-2,{0})':'if(gt(iw,ih),{0},-2)'"
SMALL = SCALE.format(360)
"""360p: the shorter side gets 360 pixels."""
PIECES = (
    ("360p, CRF 28", 0, SMALL),
    ("360p, CRF 28", CLIP_S - PIECE_S, SMALL),
    ("CRF 28", 1, None),
    ("crop, 360p, CRF 28", 2, f"crop=trunc(iw*{{share}}/2)*2:trunc(ih*{{share}}/2)*2,{SMALL}"),
)
"""Kind, start in seconds, and filter."""


def photographs():
    paths = [*sorted((ASSETS / "pictures").glob("*.jpg")), ASSETS / "astronaut.jpg"]
    return [cv2.imread(str(path)) for path in paths]


def scene(rng, photos):
    """A random part of a photograph, `MARGIN` pixels larger than the video on each side."""
    width, height = SIZES[rng.integers(len(SIZES))]
    photo = photos[rng.integers(len(photos))]
    size = width + 2 * MARGIN, height + 2 * MARGIN
    fit = max(size[0] / photo.shape[1], size[1] / photo.shape[0]) * rng.uniform(1, 1.8)
    photo = cv2.resize(photo, None, fx=fit, fy=fit, interpolation=cv2.INTER_CUBIC)
    x, y = (rng.integers(photo.shape[1 - axis] - size[axis] + 1) for axis in (0, 1))
    part = photo[y : y + size[1], x : x + size[0]]
    part = part[:, ::-1] if rng.random() < 0.5 else part
    return np.clip(part * rng.uniform(0.5, 1.2), 0, 255).astype(np.uint8), (width, height)


def frames(rng, part, size, motion, deviation):
    """Yield the pictures of a clip."""
    width, height = size
    direction = rng.integers(-1, 2, 2)
    grain = [rng.normal(0, deviation, (height, width)).astype(np.int16) for _ in range(7)]
    for number in range(int(RATE * CLIP_S)):
        share = number / (RATE * CLIP_S)
        if motion == "zoom":
            cut = int(MARGIN * share)
            inner = part[cut : part.shape[0] - cut, cut : part.shape[1] - cut]
            shown = cv2.resize(inner, (width, height), interpolation=cv2.INTER_AREA)
        else:
            x, y = (MARGIN + int(step * MARGIN * share) if motion == "pan" else MARGIN for step in direction)
            shown = part[y : y + height, x : x + width]
        picture = Picture.from_bgr(np.ascontiguousarray(shown))
        picture.y[:] = np.clip(picture.y + grain[number % len(grain)], 0, 255)
        yield picture


def marked_clip(path, rng, photos):
    """Write a marked clip; return what it is."""
    part, size = scene(rng, photos)
    motion = str(rng.choice(["still", "pan", "zoom"], p=[0.5, 0.3, 0.2]))
    deviation = rng.uniform(0, 4)
    marker = PictureMarker(KEY, *size)
    with VideoEncoder(path, *size, RATE, preset="veryfast") as encoder:
        for picture in frames(rng, part, size, motion, deviation):
            encoder.write(marker(picture))
    return f"{size[0]}x{size[1]} {motion} luma {part.mean():.0f} grain {deviation:.1f}"


def changed(source, target, start, video_filter):
    command = [find_ffmpeg(), "-v", "error", "-y", "-nostdin", "-threads", "1", "-ss", start, "-i", source]
    command += ["-t", PIECE_S, "-an", *(["-vf", video_filter] if video_filter else [])]
    command += ["-c:v", "libx264", "-preset", "veryfast", "-crf", 28, target]
    subprocess.run([str(word) for word in command], check=True)


def interval(found, count):
    """Wilson's 95 % confidence interval of a rate."""
    z, rate = 1.96, found / count
    center = rate + z * z / (2 * count)
    spread = z * sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    return (center - spread) / (1 + z * z / count), (center + spread) / (1 + z * z / count)


def cpu_s():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def report(scores, missed):
    for kind, values in scores.items():
        found = len(values) - len(missed[kind])
        low, high = interval(found, len(values))
        print(
            f"{kind:24} found {found}/{len(values)} ({100 * found / len(values):.1f} %,"
            f" {100 * low:.1f} to {100 * high:.1f}), scores {min(values):.1f} to {max(values):.1f},"
            f" missed: {missed[kind]}",
            flush=True,
        )


def main(minutes="15", seed="0", sides=""):
    pieces = [
        (f"{side} pixels, CRF 28", 1, SCALE.format(side)) for side in sides.split(",") if side
    ] or PIECES
    rng, photos = np.random.default_rng(int(seed)), photographs()
    scores, missed, clips = defaultdict(list), defaultdict(list), 0
    with tempfile.TemporaryDirectory() as folder:
        clip, piece = Path(folder, "clip.mp4"), Path(folder, "piece.mp4")
        while cpu_s() < float(minutes) * 60:
            clip_kind = marked_clip(clip, rng, photos)
            clips += 1
            for kind, start, video_filter in pieces:
                share = rng.uniform(0.8, 1)
                changed(clip, piece, start, video_filter and video_filter.format(share=share))
                seen = detect_mark(piece, [KEY]).picture
                scores[kind].append(seen.score)
                if not seen.found:
                    missed[kind].append(f"{clip_kind} {seen.score:.1f}")
            print(f"-- {clips} clips, {cpu_s():.0f} s of CPU time", flush=True)
            report(scores, missed)


if __name__ == "__main__":
    main(*sys.argv[1:])
