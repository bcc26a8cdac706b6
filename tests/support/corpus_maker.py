"""
Maker and measures of the media corpus: one master with a face between four marked corners, and speech.

The corner at the top left flashes at 1.0 s, while a beep sounds; the others have fixed colors. They measure
the result of a job: order of corners, colors, size, length, and the time between flash and beep.
"""

import subprocess
from pathlib import Path

import av
import cv2
import numpy as np

from musetalk_core.media.output.ffmpeg import find_ffmpeg

ASSETS = Path(__file__).resolve().parents[1] / "assets"
SIZE, CORNER, RATE, SECONDS = 320, 48, 25, 3.0
FLASH_S, BEEP_HZ, BEEP_S = 1.0, 3000, 0.08
SOUND_RATE = 16_000
COLORS = {"red": (200, 60, 50), "blue": (50, 70, 190), "green": (40, 150, 80)}
"""RGB of the three corners that do not flash."""
UPRIGHT = ("flash", "red", "blue", "green")
"""The corners of the master, clockwise from the top left."""
SUBTITLES = "1\n00:00:00,200 --> 00:00:02,500\nHello there.\n"


class Maker:
    """Makes files of the corpus in a folder, from a lossless master."""

    def __init__(self, folder):
        self.folder = folder
        self.master = folder / "master.mkv"
        write_master(self.master)

    def ffmpeg(self, name, *words, source=None, before=()):
        """Convert the master, or another file; `before` are options of the input."""
        target = self.folder / name
        given = [*before, "-i", source or self.master]
        command = [find_ffmpeg(None), "-nostdin", "-v", "error", "-y", *given, *words, target]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (name, done.stderr)
        return target

    def mp4(self, name="plain.mp4", *words, before=()):
        """An ordinary H.264 file with AAC sound; `words` are further output options."""
        options = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "12", "-pix_fmt", "yuv420p"]
        options += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
        to_bt709 = ["-vf", "scale=out_color_matrix=bt709:out_range=tv"]
        filters = [] if "-vf" in words else to_bt709
        return self.ffmpeg(name, *filters, *options, "-c:a", "aac", "-b:a", "128k", *words, before=before)

    def bytes(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path


def write_master(path):
    """Write the master: FFV1 in RGB and PCM in Matroska."""
    face = cv2.imdecode(np.fromfile(ASSETS / "astronaut.jpg", np.uint8), cv2.IMREAD_COLOR)
    face = cv2.resize(face[20:340, 60:380], (SIZE, SIZE))
    sound = master_sound()
    with av.open(str(path), "w", format="matroska") as container:
        video = container.add_stream("ffv1", rate=RATE)
        video.width, video.height, video.pix_fmt = SIZE, SIZE, "bgr0"
        audio = container.add_stream("pcm_s16le", rate=SOUND_RATE, layout="mono")
        for number in range(int(SECONDS * RATE)):
            moved = np.roll(face, (number % 3, number % 4), (0, 1))
            container.mux(video.encode(av.VideoFrame.from_ndarray(marked(moved, number / RATE), "bgr24")))
        frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
        frame.sample_rate = SOUND_RATE
        container.mux(audio.encode(frame))
        for stream in (video, audio):
            container.mux(stream.encode(None))


def marked(picture, time_s):
    """The picture with its four corners."""
    picture = picture.copy()
    flash = (255, 255, 255) if FLASH_S <= time_s < FLASH_S + 0.2 else (0, 0, 0)
    last = SIZE - CORNER
    for (y, x), color in zip(
        ((0, 0), (0, last), (last, last), (last, 0)),
        (flash, *(COLORS[name][::-1] for name in UPRIGHT[1:])),
        strict=True,
    ):
        picture[y : y + CORNER, x : x + CORNER] = color
    return picture


def master_sound():
    """Return (N,) int16: three seconds of a reading, silent around the beep at 1.0 s."""
    with av.open(str(next(ASSETS.glob("sense*0870.wav")))) as container:
        speech = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    sound = speech[: int(SECONDS * SOUND_RATE)].astype(np.float64)
    start, length = int(FLASH_S * SOUND_RATE), int(BEEP_S * SOUND_RATE)
    sound[start - length : start + 2 * length] = 0
    time_s = np.arange(length) / SOUND_RATE
    sound[start : start + length] = 16_000 * np.sin(2 * np.pi * BEEP_HZ * time_s)
    return sound.astype(np.int16)


def flash_time(path):
    """Return the corner that flashes, clockwise from the top left, and the seconds until it does."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        start = float((container.start_time or 0) / 1e6)
        times, corners = [], []
        for frame in container.decode(stream):
            picture = frame.to_ndarray(format="rgb24")
            corners.append([patch.mean() for patch in corner_patches(picture)])
            times.append(float(frame.time) - start)
    levels = np.array(corners)
    which = int(np.argmax(levels.max(axis=0) - levels.min(axis=0)))
    lit = np.flatnonzero(levels[:, which] > (levels[:, which].max() + levels[:, which].min()) / 2)
    return which, times[lit[0]]


def corner_patches(picture):
    """The middles of the four corners, clockwise from the top left."""
    height, width = picture.shape[:2]
    y, x = round(height * CORNER / SIZE / 2), round(width * CORNER / SIZE / 2)
    centers = ((y, x), (y, width - x), (height - y, width - x), (height - y, x))
    return [picture[cy - y // 3 : cy + y // 3, cx - x // 3 : cx + x // 3] for cy, cx in centers]


def beep_time(path):
    """Return the seconds until the beep."""
    rate = 48_000
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        start = float((container.start_time or 0) / 1e6)
        resampler = av.AudioResampler(format="fltp", rate=rate)
        parts, first = [], None
        for frame in container.decode(stream):
            first = float(frame.time) - start if first is None else first
            parts += [one.to_ndarray() for one in resampler.resample(frame)]
    channels = np.concatenate(parts, axis=1)
    sound = channels[np.argmax((channels**2).sum(axis=1))]
    window = rate // 200
    turns = np.exp(-2j * np.pi * BEEP_HZ * np.arange(window) / rate)
    blocks = sound[: len(sound) // window * window].reshape(-1, window)
    power = np.abs(blocks @ turns)
    loud = np.flatnonzero(power > power.max() / 2)
    return first + loud[0] * window / rate


def streams_of(path):
    """Return width, height, and the seconds of the picture and the sound of a result; None without sound."""
    with av.open(str(path)) as container:
        picture = container.streams.video[0]
        sound = next(iter(container.streams.audio), None)
        lengths = [one and float(one.duration * one.time_base) for one in (picture, sound)]
        return picture.width, picture.height, *lengths


def corner_colors(path, time_s=0.4):
    """Return the mean RGB of the four corners, clockwise from the top left, at a time without a flash."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if float(frame.time) >= time_s:
                picture = frame.to_ndarray(format="rgb24")
                return [patch.reshape(-1, 3).mean(axis=0) for patch in corner_patches(picture)]
    raise AssertionError(f"{path} is shorter than {time_s} s")
