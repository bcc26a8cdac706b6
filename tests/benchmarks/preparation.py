"""
CPU time of preparing a clip of 20 s for longer and longer sounds: `preparation.py [SECONDS ...]`.

The networks have the stand-in weights of the tests; faces are tracked by the bundled mesh.
One thread: threads that wait for busy cores would count as CPU time.
"""

import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import torch
from figures import record
from media import talking_head

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
import golden_data

from musetalk_core.avatar import archive, prepare
from musetalk_core.avatar.parts import encode_parts, parts_of
from musetalk_core.engines.musetalk.engine import MuseTalkEngine
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.rendering.chunking import Chunk
from musetalk_core.rendering.render_chunk import Scene
from musetalk_core.runtime.config import RuntimeConfig

CLIP_S, RATE = 20, Fraction(25)


def main(folder, sounds_s=(2, 6, 20)):
    """Return the CPU seconds of finding the face, and parts and CPU seconds so far for each sound."""
    torch.set_num_threads(1)
    for net in ("unet-v15", "vae", "whisper", "bisenet"):
        golden_data.write_models(folder / "models", net)
    layout = LocalModels(folder / "models", folder / "hashes.json")
    engine = MuseTalkEngine(MuseTalkEngineOptions(), RuntimeConfig(layout, device="cpu", landmarks="mesh"))
    video = talking_head(folder / "clip.mp4", CLIP_S, size=(1920, 1080), face_px=450)
    (folder / "avatar").mkdir()
    began = time.process_time()
    prepare.prepare_avatar(prepare.AvatarRequest(video, "0" * 64), engine, folder / "avatar")
    scene = Scene(archive.load_avatar(folder / "avatar"), video, RATE)
    track_s, steps = time.process_time() - began, []
    print(f"{scene.avatar.manifest.with_face} of {scene.avatar.manifest.frames} faces found: {track_s:.1f} s")
    for seconds in sounds_s:
        shown = scene.source_frames(Chunk(0, 0, int(seconds * RATE)))
        encode_parts(scene.avatar, engine, video, folder / "parts", shown)
        steps.append((len(parts_of(scene.avatar, shown)), time.process_time() - began))
        print(
            f"sound of {seconds} s: {steps[-1][0]} parts, {steps[-1][1]:.1f} s of CPU time so far", flush=True
        )
    longest = steps[-1][1]
    for seconds, (_, used) in zip(sounds_s, steps, strict=True):
        print(f"sound of {seconds} s: {used / longest:.3f} of the longest")
        record(**{f"sound_{seconds}_cpu_s": used})
    return track_s, steps


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name), [int(word) for word in sys.argv[1:]] or (2, 6, 20))
