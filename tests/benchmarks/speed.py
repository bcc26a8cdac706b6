"""A 720p25 job with a prepared avatar against a transcode of the same frames; frames/s of each phase."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import record
from media import long_speech, talking_head

from musetalk_core.media.output.ffmpeg import find_ffmpeg

SECONDS = 60
ROUNDS = 3
PRESET = "medium"
"""Default of x264. Jobs use `fast`, with which encoding takes a smaller share of the time on both sides."""


def run_job(home, video, audio, engine="viseme", preset=PRESET):
    script = Path(__file__).with_name("job.py")
    command = [sys.executable, script, home, video, audio, engine, preset]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def transcode(video, target, preset=PRESET):
    began = time.monotonic()
    command = [find_ffmpeg(), "-v", "error", "-y", "-nostdin", "-i", video, "-an"]
    subprocess.run([*command, "-c:v", "libx264", "-preset", preset, "-crf", "18", target], check=True)
    return time.monotonic() - began


def main(preset=PRESET):
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        video = talking_head(home / "head.mp4", SECONDS)
        first = run_job(home / "home", video, long_speech(home / "0.wav", SECONDS), preset=preset)
        fps = {p: first["source_frames"] / first["timings"][p] for p in ("prepare", "render", "encode")}
        print("frames/s:", {phase: round(value, 1) for phase, value in fps.items()})
        transcode_s, job_s = [], []
        for number in range(1, ROUNDS + 1):
            transcode_s.append(transcode(video, home / "plain.mp4", preset))
            # a different length, so that only the avatar is cached
            speech = long_speech(home / f"{number}.wav", SECONDS - number / 25)
            made = run_job(home / "home", video, speech, preset=preset)
            job_s.append(made["seconds"])
            print(
                f"{preset} {number}: plain {transcode_s[-1]:.1f} s, ours {made['seconds']:.1f} s",
                made["timings"],
            )
        print(
            f"ratio of the best: {min(job_s) / min(transcode_s):.2f}, of the medians: "
            f"{sorted(job_s)[ROUNDS // 2] / sorted(transcode_s)[ROUNDS // 2]:.2f} (bar: 1.5)"
        )
        times = {"ffmpeg": min(transcode_s), "job": min(job_s)}
        record(**{f"{preset}_{name}_s": seconds for name, seconds in times.items()})
        record(**{f"{preset}_ratio": times["job"] / times["ffmpeg"]})


if __name__ == "__main__":
    main()
    main("fast")
