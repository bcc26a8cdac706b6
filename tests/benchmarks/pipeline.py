"""Rendering and encoding of a 20-second 1080p clip against the baseline; both use a stub for the network."""

import sys
import tempfile
from pathlib import Path

from figures import record
from media import long_speech, talking_head
from peak_memory import run_measured

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

SECONDS, BASELINE_FRAMES = 20, 60


def main(seconds=SECONDS, plain_frames=BASELINE_FRAMES):
    from golden_data import weights

    from musetalk_core.media.output.ffmpeg import find_ffmpeg

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights.write_models(folder / "models", ["unet-v15", "vae", "whisper", "bisenet"])
        video = talking_head(folder / "clip.mp4", seconds, size=(1920, 1080), face_px=400)
        audio = long_speech(folder / "speech.wav", seconds)
        frames = seconds * 25
        arguments = folder / "models", video, audio
        run_measured("pipeline_this_project.py", "prepare", *arguments, folder / "ours", frames)
        ours = run_measured("pipeline_this_project.py", "render", *arguments, folder / "ours", frames)
        baseline = run_measured(
            "pipeline_baseline.py", *arguments, folder / "plain", plain_frames, find_ffmpeg()
        )
        per_frame = [1000 * made["seconds"] / made["frames"] for made in (baseline, ours)]
        print(f"baseline: {per_frame[0]:.0f} ms per frame, {baseline['tree_mb']:.0f} MB in its process tree")
        print(f"ours:     {per_frame[1]:.0f} ms per frame, {ours['tree_mb']:.0f} MB")
        speed, memory = per_frame[0] / per_frame[1], ours["tree_mb"] / baseline["tree_mb"]
        print(f"{speed:.1f} times as fast (bar: 6), {memory:.2f} of the memory (bar: 0.20)")
        record(plain_frame_ms=per_frame[0], frame_ms=per_frame[1], speed=speed)
        record(plain_mb=baseline["tree_mb"], peak_mb=ours["tree_mb"], memory=memory)
        return speed, memory


if __name__ == "__main__":
    main()
