"""A 1-hour 360p job beside a 1-minute one (fake engine): memory, and disk beside the source."""

import subprocess
import tempfile
from pathlib import Path

import imageio_ffmpeg
from media import long_speech, talking_head
from speed import job


def looped(clip, times, target):
    """The same clip again and again, not encoded anew."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
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
    """Bytes of all prepared avatars of a home."""
    files = (home / "cache" / "artefacts" / "avatar").rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


def measure(folder, minutes):
    """(peak memory in MB, avatar bytes a frame, timings) of a job this long."""
    clip = folder / "minute.mp4"
    if not clip.exists():
        talking_head(clip, 60, size=(640, 360), face_px=150)
    # a hundredth of a second under the limit of one hour
    seconds = minutes * 60 - 0.1
    home, video = folder / f"home{minutes}", looped(clip, minutes, folder / f"{minutes}.mp4")
    made = job(home, video, long_speech(folder / f"{minutes}.wav", seconds), "fake")
    return made["rss_mb"], avatar_bytes(home) / made["source_frames"], made["timings"]


def main(minutes=(1, 60)):
    with tempfile.TemporaryDirectory() as name:
        peaks = []
        for length in minutes:
            peak, per_frame, timings = measure(Path(name), length)
            peaks.append(peak)
            print(
                f"{length} min: {peak:.0f} MB, avatar {per_frame / 1000:.1f} kB a frame", timings, flush=True
            )
        print(f"difference: {peaks[-1] - peaks[0]:.0f} MB (bar: 150), avatar bar: 20 kB")


if __name__ == "__main__":
    main()
