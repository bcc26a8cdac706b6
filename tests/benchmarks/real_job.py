"""A complete run with full-size networks: `real_job.py MODELS VIDEO AUDIO FOLDER FRAMES` prints JSON."""

import json
import resource
import sys
import time
from fractions import Fraction
from pathlib import Path

from musetalk_core.avatar import archive, prepare
from musetalk_core.engines.musetalk.engine import MuseTalkEngine
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions
from musetalk_core.formats.float_rows import Float32RowFile, write_float32_rows
from musetalk_core.formats.pcm import PcmFile
from musetalk_core.media.audio.decode import decode_speech
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.rendering.chunking import Chunk
from musetalk_core.rendering.render_chunk import Scene, render_chunk
from musetalk_core.runtime.config import GIB, RuntimeConfig
from musetalk_core.runtime.model_cache import model_cache

RATE = Fraction(25)


def main(models, video, audio, folder, frames):
    folder, video = Path(folder), Path(video)
    machine = RuntimeConfig(
        LocalModels(Path(models), folder / "hashes.json"),
        device="cpu",
        memory_bytes=4 * GIB,
        landmarks="dwpose",
        batch=4,
    )
    engine, began, phase_s = MuseTalkEngine(MuseTalkEngineOptions(), machine), time.monotonic(), {}

    def done(phase):
        nonlocal began
        phase_s[phase], began = round(time.monotonic() - began, 2), time.monotonic()

    for name in ("avatar", "heard", "crops"):
        (folder / name).mkdir(parents=True)
    prepare.prepare_avatar(prepare.AvatarRequest(video, "0" * 64), engine, folder / "avatar")
    done("prepare")
    decode_speech(Path(audio), folder / "speech.f32")
    write_float32_rows(
        folder / "heard", engine.encode_audio(PcmFile(folder / "speech.f32"), frames, RATE, None)
    )
    done("features")
    scene = Scene(archive.load_avatar(folder / "avatar"), video, RATE)
    render_chunk(scene, engine, Float32RowFile.open(folder / "heard"), Chunk(0, 0, frames), folder / "crops")
    done("render")
    cache = model_cache(machine.memory_bytes, machine.idle_s)
    print(
        json.dumps(
            {
                "seconds": phase_s,
                "with_face": scene.avatar.manifest.with_face,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "left_on_the_shelf": [key[0] for key in cache.keys],
                "loads": sorted(cache.loads.values()),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]))
