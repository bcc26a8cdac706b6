"""
Baseline: blend rendered faces into a clip as the original program does, by its specification.

All frames are extracted to PNG files and read into one list. For each output frame the source frame is
copied, the face scaled, its surroundings parsed by the face parsing network, masked, blended, and written as
PNG. The PNG files are then encoded, and encoded again with the sound.
`pipeline_baseline.py MODELS VIDEO AUDIO FOLDER FRAMES FFMPEG` prints JSON.
"""

import copy
import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image as Pillow
from stub_faces import load_boxes, stub_face

from musetalk_core.networks.bisenet import load_parser
from musetalk_core.runtime.device import choose_device

CHEEK, NOSE = 90, 10


def main(models, video, audio, folder, frames, ffmpeg):
    folder = Path(folder)
    parser = load_parser(Path(models) / "face-parse-bisent" / "79999_iter.pth", choose_device("cpu"))
    (folder / "in").mkdir(parents=True)
    (folder / "out").mkdir()
    run_command(ffmpeg, "-v", "fatal", "-i", video, "-start_number", "0", folder / "in" / "%08d.png")
    pictures = [cv2.imread(str(path)) for path in sorted((folder / "in").glob("*.png"))]
    boxes = load_boxes(Path(video), len(pictures))
    began = time.monotonic()
    for number in range(int(frames)):
        source = number % len(pictures)
        x1, y1, x2, y2 = boxes[source]
        frame = copy.deepcopy(pictures[source])
        face = cv2.resize(stub_face(number), (x2 - x1, y2 - y1))
        out = blend_face(parser, frame, face, (x1, y1, x2, y2))
        cv2.imwrite(str(folder / "out" / f"{number:08d}.png"), out)
    silent, final = folder / "silent.mp4", folder / "final.mp4"
    pattern = folder / "out" / "%08d.png"
    run_command(
        ffmpeg,
        "-y",
        "-v",
        "error",
        "-r",
        "25",
        "-f",
        "image2",
        "-i",
        pattern,
        "-vcodec",
        "libx264",
        "-vf",
        "format=yuv420p",
        "-crf",
        "18",
        silent,
    )
    run_command(ffmpeg, "-y", "-v", "error", "-i", audio, "-i", silent, final)
    print(json.dumps({"seconds": time.monotonic() - began, "frames": int(frames)}))


def blend_face(parser, frame, face, box):
    """Blend a face into one frame; mask and parsing are computed for each frame."""
    x, y, x1, y1 = box
    cx, cy, half = (x + x1) // 2, (y + y1) // 2, int(max(x1 - x, y1 - y) // 2 * 1.5)
    square = cx - half, cy - half, cx + half, cy + half
    body = Pillow.fromarray(frame[:, :, ::-1])
    surroundings = body.crop(square)
    labels = parser.label_maps([np.asarray(surroundings)[:, :, ::-1].copy()])[0]
    mask = np.isin(labels, (1, 11, 12, 13)).astype(np.uint8) * 255
    face_mask = Pillow.fromarray(mask).resize(surroundings.size)
    inner_mask = face_mask.crop((x - square[0], y - square[1], x1 - square[0], y1 - square[1]))
    full_mask = Pillow.new("L", surroundings.size, 0)
    full_mask.paste(inner_mask, (x - square[0], y - square[1]))
    array = np.asarray(full_mask).copy()
    array[: int(array.shape[0] * 0.5)] = 0
    blur = int(0.05 * surroundings.size[0] // 2 * 2) + 1
    array = cv2.GaussianBlur(array, (blur, blur), 0)
    surroundings.paste(Pillow.fromarray(face[:, :, ::-1]), (x - square[0], y - square[1]))
    body.paste(surroundings, square[:2], Pillow.fromarray(array))
    return np.asarray(body)[:, :, ::-1]


def run_command(*command):
    subprocess.run([str(part) for part in command], check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main(*sys.argv[1:])
