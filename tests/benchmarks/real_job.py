"""
A complete run with full-size networks: `real_job.py MODELS VIDEO AUDIO FOLDER FRAMES` prints JSON.

`track` finds the face in the whole clip, `encode` encodes the parts that FRAMES output frames show.
"""

import json
import resource
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from musetalk_core.avatar import archive, prepare
from musetalk_core.avatar.parts import encode_parts
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
    began_cpu, cpu_s = time.process_time(), {}

    def done(phase):
        nonlocal began, began_cpu
        phase_s[phase], began = round(time.monotonic() - began, 2), time.monotonic()
        cpu_s[phase], began_cpu = round(time.process_time() - began_cpu, 2), time.process_time()

    for name in ("avatar", "heard", "crops"):
        (folder / name).mkdir(parents=True)
    prepare.prepare_avatar(prepare.AvatarRequest(video, "0" * 64), engine, folder / "avatar")
    done("track")
    scene = Scene(archive.load_avatar(folder / "avatar"), video, RATE)
    shown = scene.source_frames(Chunk(0, 0, frames))
    scene = replace(scene, avatar=encode_parts(scene.avatar, engine, video, folder / "parts", shown))
    done("encode")
    decode_speech(Path(audio), folder / "speech.f32")
    write_float32_rows(
        folder / "heard", engine.encode_audio(PcmFile(folder / "speech.f32"), frames, RATE, None)
    )
    done("features")
    render_chunk(scene, engine, Float32RowFile.open(folder / "heard"), Chunk(0, 0, frames), folder / "crops")
    done("render")
    cache = model_cache(machine.memory_bytes, machine.idle_s)
    print(
        json.dumps(
            {
                "seconds": phase_s,
                "cpu_s": cpu_s,
                "parts": len(list((folder / "parts").iterdir())),
                "with_face": scene.avatar.manifest.with_face,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "left_on_the_shelf": [key[0] for key in cache.keys],
                "loads": sorted(cache.loads.values()),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]))
