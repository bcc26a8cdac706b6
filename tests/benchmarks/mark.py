"""
The imperceptible mark: cost, quality, robustness, false alarms; tables of docs/how-to/imperceptible-mark.md.

`mark.py [cost|picture|sound|alarms] [FOLDER]`: without a name all parts. FOLDER may hold more clips and
recordings.
"""

import resource
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from media import ASSETS, talking_head

from musetalk_core.formats.pcm import PcmArray
from musetalk_core.imperceptible_mark.file_detection import detect_mark
from musetalk_core.imperceptible_mark.key import MarkKey
from musetalk_core.imperceptible_mark.picture_detector import PictureMean, detect_in_pictures
from musetalk_core.imperceptible_mark.picture_marker import PictureMarker
from musetalk_core.imperceptible_mark.sound_detector import SoundDetector
from musetalk_core.imperceptible_mark.sound_marker import SoundMarker, mark_wav
from musetalk_core.media.audio.decode import decode_speech, write_wav
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.output.ffmpeg import find_ffmpeg
from musetalk_core.media.output.video_encoder import VideoEncoder
from musetalk_core.media.video.scan import open_scan
from musetalk_core.speech.tts.starter_voice import synthesize

KEY = MarkKey(b"benchmark" * 4)
RATE = Fraction(25)
PIECE_S = 5
X264 = ["-c:v", "libx264", "-preset", "veryfast", "-an"]
PICTURE_CHANGES = {
    "remux": ["-c", "copy", "-an"],
    "CRF 18": [*X264, "-crf", "18"],
    "CRF 23": [*X264, "-crf", "23"],
    "CRF 28": [*X264, "-crf", "28"],
    "CRF 35": [*X264, "-crf", "35"],
    "360p, CRF 28": ["-vf", "scale=-2:360", *X264, "-crf", "28"],
    "crop 10 %, CRF 28": ["-vf", "crop=trunc(iw*.45)*2:trunc(ih*.45)*2", *X264, "-crf", "28"],
    "trim 10 %, CRF 28": ["-ss", "0.5", *X264, "-crf", "28"],
    "15 fps, CRF 28": ["-r", "15", *X264, "-crf", "28"],
    "2/3 size, noise, CRF 28": ["-vf", "scale=trunc(iw/3)*2:-2,noise=alls=12:allf=t", *X264, "-crf", "28"],
    "rotated by 2 degrees": ["-vf", "rotate=0.035", *X264, "-crf", "28"],
    "width 80 %, height 100 %": ["-vf", "scale=trunc(iw*.4)*2:ih", *X264, "-crf", "28"],
}
SOUND_CHANGES = {
    "WAV": ([], "wav"),
    "MP3 64 kbit/s": (["-b:a", "64k"], "mp3"),
    "AAC 96 kbit/s": (["-b:a", "96k"], "m4a"),
    "resampled to 16 kHz": (["-ar", "16000"], "wav"),
    "resampled to 8 kHz": (["-ar", "8000"], "wav"),
    "trim 10 %": (["-ss", "0.5"], "wav"),
    "noise at -40 dB": (["-af", "anoisesrc=a=0.01:d=5[n];[0:a][n]amix=weights=1 1:normalize=0"], "wav"),
    "5 % faster": (["-af", "atempo=1.05"], "wav"),
}


def ffmpeg(source, target, *arguments):
    command = [find_ffmpeg(), "-v", "error", "-y", "-nostdin", "-i", source, *arguments, target]
    subprocess.run(command, check=True)


def write_still(path, picture, size):
    luma = cv2.imread(str(picture))
    scale = max(size[0] / luma.shape[1], size[1] / luma.shape[0])
    luma = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)[: size[1], : size[0]]
    one = Picture.from_bgr(np.ascontiguousarray(luma))
    with VideoEncoder(path, *size, RATE, crf=12, preset="ultrafast") as encoder:
        for _ in range(int(RATE * PIECE_S)):
            encoder.write(one)
    return path


def clips(home, more):
    """Clips of 5 s: pieces of a moving head and of given videos, and still pictures."""
    made = [talking_head(home / "head.mp4", 4 * PIECE_S), *sorted(more.glob("*.mp4") if more else [])]
    for number, picture in enumerate(
        [*sorted((ASSETS / "pictures").glob("*.jpg")), ASSETS / "astronaut.jpg"]
    ):
        made.append(
            write_still(
                home / f"still{number}.mp4", picture, [(1280, 720), (720, 1280), (854, 480)][number % 3]
            )
        )
    return made


def pieces(path):
    """Yield the pictures of each whole piece of a clip."""
    piece = []
    with open_scan(path) as scan:
        for picture in scan:
            piece.append(picture)
            if len(piece) == int(RATE * PIECE_S):
                yield piece
                piece = []


def write(path, pictures):
    with VideoEncoder(path, pictures[0].width, pictures[0].height, RATE, preset="veryfast") as encoder:
        for picture in pictures:
            encoder.write(picture)


def picture(home, more):
    scores, psnr, growth, largest = {name: [] for name in PICTURE_CHANGES}, [], [], 0
    for clip in clips(home, more):
        for piece in pieces(clip):
            marker = PictureMarker(KEY, piece[0].width, piece[0].height)
            marked = [marker(one) for one in piece]
            changes = [a.y.astype(int) - b.y for a, b in zip(marked[::10], piece[::10], strict=True)]
            psnr.append(10 * np.log10(255**2 / np.mean(np.square(changes))))
            largest = max(largest, np.abs(changes).max())
            write(home / "plain.mp4", piece)
            write(home / "marked.mp4", marked)
            growth.append((home / "marked.mp4").stat().st_size / (home / "plain.mp4").stat().st_size)
            for name, arguments in PICTURE_CHANGES.items():
                ffmpeg(home / "marked.mp4", home / "changed.mp4", *arguments)
                scores[name].append(detect_mark(home / "changed.mp4", [KEY]).picture)
            print(
                clip.name,
                round(psnr[-1], 1),
                f"{growth[-1]:.2f}",
                [round(s[-1].score, 1) for s in scores.values()],
                flush=True,
            )
    print(f"{len(psnr)} pieces; PSNR of luma {min(psnr):.1f} to {max(psnr):.1f} dB, changes <= {largest}")
    print(f"file size with / without: median {np.median(growth):.2f}, largest {max(growth):.2f}")
    table(scores)


def table(scores):
    for name, results in scores.items():
        values = [one.score for one in results]
        found = sum(one.found for one in results)
        print(f"{name:28} found {found}/{len(results)}, scores {min(values):.1f} to {max(values):.1f}")


def recordings(more):
    names = ("*.wav", "*.flac")
    return sorted(
        path for folder in (ASSETS, *([more] if more else [])) for name in names for path in folder.glob(name)
    )


def sound(home, more):
    scores = {name: [] for name in SOUND_CHANGES}
    for path in recordings(more):
        decode_speech(path, home / "sound.f32", rate_hz=24_000)
        samples = np.fromfile(home / "sound.f32", "<f4")
        for start in range(0, len(samples) - PIECE_S * 24_000 + 1, PIECE_S * 24_000):
            write_wav(home / "plain.wav", samples[start : start + PIECE_S * 24_000], 24_000)
            mark_wav(home / "plain.wav", home / "marked.wav", KEY)
            for name, (arguments, kind) in SOUND_CHANGES.items():
                ffmpeg(
                    home / "marked.wav",
                    home / f"changed.{kind}",
                    *(["-filter_complex", *arguments[1:]] if "amix" in str(arguments) else arguments),
                )
                scores[name].append(detect_mark(home / f"changed.{kind}", [KEY]).sound)
    table(scores)


def cost(home, _):
    """Marking against decoding and encoding the same pictures, which are only a part of a job."""
    clip = talking_head(home / "head.mp4", PIECE_S)
    began = time.process_time()
    piece = next(pieces(clip))
    others = time.process_time() - began
    marker = PictureMarker(KEY, piece[0].width, piece[0].height)
    began = time.process_time()
    marked = [marker(one) for one in piece]
    marking = time.process_time() - began
    began = child_cpu_s()
    with VideoEncoder(home / "out.mp4", piece[0].width, piece[0].height, RATE) as encoder:
        for one in marked:
            encoder.write(one)
    others += child_cpu_s() - began
    print(f"picture 720p: {marking / len(piece) * 1e3:.2f} ms of CPU a frame", end=", ")
    print(f"{100 * marking / others:.1f} % of decoding and encoding at CRF 18, fast")
    samples = np.random.default_rng(0).normal(0, 0.1, 60 * 24_000).astype(np.float32)
    began = time.process_time()
    SoundMarker(KEY, 24_000).add(samples)
    marking = time.process_time() - began
    began = time.process_time()
    spoken = synthesize("My mother bought five big blue balloons, and we carried them home.", 1.0, 0)
    speaking = (time.process_time() - began) / (len(spoken.samples) / spoken.rate)
    print(f"sound at 24 kHz: {marking / 60 * 1e3:.2f} ms of CPU a second", end=", ")
    print(f"{100 * marking / 60 / speaking:.1f} % of the starter voice")


def child_cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def unmarked_pictures(more):
    """Yield 10,000 pictures: crops, turns, brightness and noise over photographs and given clips."""
    rng = np.random.default_rng(1)
    photographs = [
        cv2.imread(str(path), 0) for path in [*(ASSETS / "pictures").glob("*.jpg"), ASSETS / "astronaut.jpg"]
    ]
    for clip in sorted(more.glob("*.mp4")) if more else []:
        with open_scan(clip) as scan:
            photographs.extend(picture.y.copy() for number, picture in enumerate(scan) if number % 10 == 0)
    for _ in range(10_000):
        source = photographs[rng.integers(len(photographs))]
        scale, angle = rng.uniform(0.8, 2.5), rng.uniform(-180, 180) * (rng.random() < 0.5)
        height, width = source.shape
        place = cv2.getRotationMatrix2D(
            (width * rng.uniform(0.3, 0.7), height * rng.uniform(0.3, 0.7)), angle, scale
        )
        out = cv2.warpAffine(source, place, (640, 360), borderMode=cv2.BORDER_REFLECT)
        yield np.clip(
            out * rng.uniform(0.5, 1.3) + rng.normal(0, rng.uniform(0, 8), out.shape), 0, 255
        ).astype(np.uint8)


def unmarked_sound(more):
    """Yield 2 h of sound in pieces of 60 s: recordings at other speeds, and noises and tones."""
    import soxr

    rng, voices = np.random.default_rng(2), []
    for path in recordings(more):
        with tempfile.TemporaryDirectory() as folder:
            decode_speech(path, Path(folder, "a"))
            voices.append(np.fromfile(Path(folder, "a"), "<f4"))
    voice = np.concatenate(voices)
    for number in range(120):
        if number % 10 == 9:
            noise = rng.normal(0, 0.1, 960_000) * (1 + np.sin(np.arange(960_000) / rng.uniform(200, 4000)))
            yield noise.astype(np.float32)
            continue
        speed = rng.uniform(0.7, 1.4)
        start = rng.integers(len(voice))
        piece = np.take(voice, range(start, start + int(960_000 * speed)), mode="wrap")
        yield np.asarray(soxr.resample(piece, round(16_000 * speed), 16_000), np.float32)


def alarms(_, more):
    """Count false alarms: every picture alone, each 50th also with the search; sound by the minute."""
    from musetalk_core.imperceptible_mark import picture_detector as detector

    scores, searched = [], []
    for number, luma in enumerate(unmarked_pictures(more)):
        mean = PictureMean()
        mean.add(luma)
        scores.append(detector._aligned_score(detector._fold(detector._equalize(mean.value())), KEY))
        if number % 50 == 0:
            searched.append(detect_in_pictures([mean], KEY))
    print(f"10,000 pictures: mean {np.mean(scores):.3f}, deviation {np.std(scores):.3f}", end=", ")
    print(f"largest {max(scores):.2f} (alarm from 5.4)")
    smallest = min(one.false_alarm_bound for one in searched)
    print(f"{len(searched)} searched: {sum(one.found for one in searched)} alarms, bound {smallest:.2g}")
    results = [SoundDetector(PcmArray(piece)).detect(KEY) for piece in unmarked_sound(more)]
    largest = max(one.score for one in results)
    print(f"2 h of sound: {sum(one.found for one in results)} alarms, largest {largest:.2f} (alarm from 6.7)")


def main(name=None, folder=None):
    for part in (cost, picture, sound, alarms):
        if name in (None, part.__name__):
            print(f"-- {part.__name__}", flush=True)
            with tempfile.TemporaryDirectory() as home:
                part(Path(home), Path(folder) if folder else None)


if __name__ == "__main__":
    main(*sys.argv[1:])
