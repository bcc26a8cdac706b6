"""
Rendering and encoding by this project with a stub for the networks.

`pipeline_this_project.py VERB MODELS VIDEO AUDIO FOLDER FRAMES` prints JSON.
"""

import json
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
from stub_faces import stub_face

from musetalk_core.avatar import archive, prepare
from musetalk_core.avatar.parts import encode_parts
from musetalk_core.compositing.mask_cache import MaskCache
from musetalk_core.engines.musetalk.engine import MuseTalkEngine
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions
from musetalk_core.formats.chunk_crops import CropReader
from musetalk_core.formats.float_rows import Float32RowFile, write_float32_rows
from musetalk_core.media.output.audio_track import encode_audio_track
from musetalk_core.media.output.mux import join_chunks
from musetalk_core.media.output.video_encoder import VideoEncoder
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.rendering.chunking import plan_chunks
from musetalk_core.rendering.compose import compose
from musetalk_core.rendering.render_chunk import Scene, render_chunk
from musetalk_core.runtime.config import RuntimeConfig

RATE = Fraction(25)


class StubbedEngine(MuseTalkEngine):
    """The MuseTalk engine with stub faces instead of its networks."""

    def render(self, faces, conditioning, audio_features):
        """Read the conditioning, as the engine does, and return stub faces."""
        for face in faces:
            conditioning.blobs.read(face.index)
        return [stub_face(face.index) for face in faces]


def create_engine(models, folder):
    options = MuseTalkEngineOptions(mask_mode="raw")
    return StubbedEngine(
        options,
        RuntimeConfig(LocalModels(Path(models), folder / "ledger.json"), device="cpu", landmarks="mesh"),
    )


def prepare_clip(models, video, folder):
    folder.mkdir(parents=True)
    target = folder / "avatar"
    target.mkdir()
    engine = create_engine(models, folder)
    prepare.prepare_avatar(prepare.AvatarRequest(video, "0" * 64), engine, target)
    made = encode_parts(archive.load_avatar(target), engine, video, folder / "parts")
    video.with_suffix(".boxes.json").write_text(json.dumps(made.boxes.tolist()))
    print(json.dumps({"frames": made.manifest.frames}))


def render(models, video, audio, folder, frames):
    stubbed_engine = create_engine(models, folder)
    made = encode_parts(archive.load_avatar(folder / "avatar"), stubbed_engine, video, folder / "parts")
    scene = Scene(made, video, RATE)
    write_float32_rows(folder, [np.zeros((frames * 2, 5 * 384), np.float32)])
    audio_features, masks, clips = Float32RowFile.open(folder), MaskCache(), []
    began = time.monotonic()
    for chunk in plan_chunks(frames * 640, RATE, 10).chunks:
        crops = folder / f"crops{chunk.number}"
        crops.mkdir()
        render_chunk(scene, stubbed_engine, audio_features, chunk, crops)
        clips.append(folder / f"clip{chunk.number}.mp4")
        size = scene.avatar.manifest.width, scene.avatar.manifest.height
        with VideoEncoder(clips[-1], *size, RATE, crf=18, preset="fast") as encoder:
            for picture in compose(scene, stubbed_engine, CropReader.open(crops), chunk, masks=masks):
                encoder.write(picture)
    encode_audio_track(audio, folder / "sound.m4a")
    join_chunks(clips, folder / "sound.m4a", folder / "ours.mp4", rate=RATE)
    print(json.dumps({"seconds": time.monotonic() - began, "frames": frames}))


if __name__ == "__main__":
    verb, models, video, audio, folder, frames = sys.argv[1:]
    if verb == "prepare":
        prepare_clip(models, Path(video), Path(folder))
    else:
        render(models, Path(video), Path(audio), Path(folder), int(frames))
