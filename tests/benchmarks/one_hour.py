"""Peak memory and avatar size of a 1-hour 360p job against a 1-minute job (fake engine)."""

import subprocess
import tempfile
from pathlib import Path

from figures import record
from media import long_speech, talking_head
from speed import run_job

from musetalk_core.media.output.ffmpeg import find_ffmpeg


def loop_clip(clip, times, target):
    """Repeat a clip without encoding it again."""
    command = [
        find_ffmpeg(),
        "-v",
        "error",
        "-y",
        "-nostdin",
        "-stream_loop",
        str(times - 1),
    ]
    subprocess.run([*command, "-i", clip, "-c", "copy", target], check=True)
    return target


def avatar_bytes(home):
    """Return the bytes of all prepared avatars of a home folder."""
    files = (home / "cache" / "artefacts" / "avatar").rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


def measure(folder, minutes):
    """Return peak memory in MB, avatar bytes per frame and timings of a job of this length."""
    clip = folder / "minute.mp4"
    if not clip.exists():
        talking_head(clip, 60, size=(640, 360), face_px=150)
    # 0.1 s below the limit of one hour
    seconds = minutes * 60 - 0.1
    home, video = folder / f"home{minutes}", loop_clip(clip, minutes, folder / f"{minutes}.mp4")
    made = run_job(home, video, long_speech(folder / f"{minutes}.wav", seconds), "fake")
    return made["rss_mb"], avatar_bytes(home) / made["source_frames"], made["timings"]


def main(minutes=(1, 60)):
    with tempfile.TemporaryDirectory() as name:
        peaks = []
        for length in minutes:
            peak, per_frame, timings = measure(Path(name), length)
            peaks.append(peak)
            print(
                f"{length} min: {peak:.0f} MB, avatar {per_frame / 1000:.1f} kB per frame",
                timings,
                flush=True,
            )
        print(f"difference: {peaks[-1] - peaks[0]:.0f} MB (bar: 150), avatar bar: 20 kB")
        record(minute_mb=peaks[0], hour_mb=peaks[-1], avatar_frame_kb=per_frame / 1000)


if __name__ == "__main__":
    main()
