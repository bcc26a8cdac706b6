"""Peak memory of a 5-minute 720p job against a 30-second job."""

import tempfile
from pathlib import Path

from figures import record
from media import long_speech, talking_head
from speed import run_job


def main(lengths=(30, 300)):
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        peaks = []
        for seconds in lengths:
            video = talking_head(home / f"{seconds}.mp4", seconds)
            made = run_job(home / f"home{seconds}", video, long_speech(home / f"{seconds}.wav", seconds))
            peaks.append(made["rss_mb"])
            print(f"{seconds} s: {made['rss_mb']:.0f} MB, ffmpeg {made['child_mb']:.0f} MB", made["timings"])
        print(f"difference: {peaks[-1] - peaks[0]:.0f} MB (bar: 150)")
        record(short_mb=peaks[0], long_mb=peaks[-1])


if __name__ == "__main__":
    main()
