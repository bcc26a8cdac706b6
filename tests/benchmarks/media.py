"""Video clips and speech files for the benchmarks."""

import wave
from pathlib import Path

import av
import cv2
import numpy as np

ASSETS = Path(__file__).resolve().parents[1] / "assets"
SPEECH = next(ASSETS.glob("sense*.wav"))


def talking_head(path, seconds, rate=25, size=(1280, 720), face_px=300, crf="20"):
    """Write a clip of a portrait swaying over a noisy background; the face is about `face_px` pixels high."""
    width, height = size
    portrait = cv2.imdecode(np.fromfile(ASSETS / "astronaut.jpg", np.uint8), cv2.IMREAD_COLOR)
    scale = face_px / 145  # the face is about 145 pixels high in the 512-pixel portrait
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 9)
    grain = [rng.normal(0, 2, (height, width, 1)).astype(np.int8) for _ in range(8)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": crf, "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(int(seconds * rate)):
            dx, dy = 12 * np.sin(number / 21), 6 * np.cos(number / 17)
            place = np.float32(
                [[scale, 0, width / 2 - 224 * scale + dx], [0, scale, height / 2 - 120 * scale + dy]]
            )
            picture = cv2.warpAffine(
                portrait, place, size, dst=ground.copy(), borderMode=cv2.BORDER_TRANSPARENT
            )
            picture = cv2.add(picture, np.repeat(grain[number % 8], 3, axis=2), dtype=cv2.CV_8U)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode())
    return path


def long_speech(path, seconds):
    """Write a WAV file of this length: the recorded reading, repeated."""
    with wave.open(str(SPEECH)) as source:
        sound = np.frombuffer(source.readframes(source.getnframes()), "<i2")
        rate = source.getframerate()
    with wave.open(str(path), "w") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        left = int(seconds * rate)
        while left > 0:
            out.writeframes(sound[:left].tobytes())
            left -= len(sound)
    return path
