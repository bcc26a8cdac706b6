"""A prepared 720p25 job against a plain transcode of the same frames, and frames per second of each phase."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import imageio_ffmpeg
from media import long_speech, talking_head

SECONDS = 60
ROUNDS = 3


def job(home, video, audio, engine="viseme"):
    script = Path(__file__).with_name("job.py")
    command = [sys.executable, script, home, video, audio, engine]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def transcode(video, target, preset="fast"):  # the preset that jobs have by default
    began = time.monotonic()
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-nostdin", "-i", video, "-an"]
    subprocess.run([*command, "-c:v", "libx264", "-preset", preset, "-crf", "18", target], check=True)
    return time.monotonic() - began


def main():
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        video = talking_head(home / "head.mp4", SECONDS)
        first = job(home / "home", video, long_speech(home / "0.wav", SECONDS))
        fps = {p: first["source_frames"] / first["timings"][p] for p in ("prepare", "render", "encode")}
        print("frames/s:", {phase: round(value, 1) for phase, value in fps.items()})
        plain, ours = [], []
        for number in range(1, ROUNDS + 1):
            plain.append(transcode(video, home / "plain.mp4"))
            # another length, so that nothing but the avatar comes from the cache
            made = job(home / "home", video, long_speech(home / f"{number}.wav", SECONDS - number / 25))
            ours.append(made["seconds"])
            print(f"round {number}: plain {plain[-1]:.1f} s, ours {made['seconds']:.1f} s", made["timings"])
        print(
            f"ratio of the best: {min(ours) / min(plain):.2f}, of the medians: "
            f"{sorted(ours)[ROUNDS // 2] / sorted(plain)[ROUNDS // 2]:.2f} (bar: 1.5)"
        )


if __name__ == "__main__":
    main()
