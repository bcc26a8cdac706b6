"""Growth of memory and time per frame over 10 minutes of speech on a 10-second avatar, small networks."""

import statistics
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

from media import long_speech, talking_head
from peak_memory import process_tree_mb

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

RATE = Fraction(25)


def main(folder, minutes=10):
    import os

    from golden_data import weights

    from musetalk_core.avatar import archive, prepare
    from musetalk_core.avatar.parts import encode_parts
    from musetalk_core.compositing.mask_cache import MaskCache
    from musetalk_core.engines.musetalk.engine import MuseTalkEngine
    from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions
    from musetalk_core.formats.chunk_crops import CropReader
    from musetalk_core.formats.float_rows import Float32RowFile, write_float32_rows
    from musetalk_core.formats.pcm import PcmFile
    from musetalk_core.media.audio.decode import decode_speech
    from musetalk_core.media.output.video_encoder import VideoEncoder
    from musetalk_core.model_registry.local_models import LocalModels
    from musetalk_core.rendering.chunking import plan_chunks
    from musetalk_core.rendering.compose import compose
    from musetalk_core.rendering.render_chunk import Scene, render_chunk
    from musetalk_core.runtime.config import RuntimeConfig

    weights.write_models(folder / "models", ["unet-v15", "vae", "whisper", "bisenet"])
    layout = LocalModels(folder / "models", folder / "hashes.json")
    engine = MuseTalkEngine(MuseTalkEngineOptions(), RuntimeConfig(layout, device="cpu", landmarks="mesh"))
    video = talking_head(folder / "clip.mp4", 10, size=(640, 360), face_px=180)
    for name in ("avatar", "heard"):
        (folder / name).mkdir()
    prepare.prepare_avatar(prepare.AvatarRequest(video, "0" * 64), engine, folder / "avatar")
    decode_speech(long_speech(folder / "speech.wav", 60 * minutes), folder / "speech.f32")
    samples = PcmFile(folder / "speech.f32")
    render_plan = plan_chunks(samples.count, RATE, 10)
    audio_features = write_float32_rows(
        folder / "heard", engine.encode_audio(samples, render_plan.frames, RATE, None)
    )
    scene, masks, seconds, memory = (
        Scene(
            encode_parts(archive.load_avatar(folder / "avatar"), engine, video, folder / "parts"), video, RATE
        ),
        MaskCache(),
        [],
        [],
    )
    for chunk in render_plan.chunks:
        crops, began = folder / f"crops{chunk.number}", time.monotonic()
        crops.mkdir()
        render_chunk(scene, engine, Float32RowFile.open(audio_features.folder), chunk, crops)
        with VideoEncoder(folder / "clip.out.mp4", 640, 360, RATE, crf=18, preset="veryfast") as encoder:
            for picture in compose(scene, engine, CropReader.open(crops), chunk, masks=masks):
                encoder.write(picture)
        (folder / "clip.out.mp4").unlink()
        for file in crops.iterdir():
            file.unlink()
        seconds.append((time.monotonic() - began) / (chunk.stop - chunk.start))
        memory.append(process_tree_mb(os.getpid()))
    third = len(seconds) // 3
    growth_mb = max(memory[-third:]) - max(memory[:third])
    slowdown = statistics.median(seconds[-third:]) / statistics.median(seconds[:third])
    print(
        f"{render_plan.frames} frames, {1000 * statistics.median(seconds):.0f} ms each;"
        f" masks made: {masks.computed_count}"
    )
    print(f"last third against first: {growth_mb:+.0f} MB (bar: 150), {slowdown:.2f} of the time (bar: 1.25)")
    return {"grown_mb": growth_mb, "slower": slowdown}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name), *map(int, sys.argv[1:]))
