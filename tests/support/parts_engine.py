"""An engine without weights that encodes faces in parts, as `musetalk` does, and records which it encodes."""

import os
from pathlib import Path

import numpy as np

from musetalk_core.engine_protocol import EncodedFace, EngineCapabilities, ignore_face
from musetalk_core.engines import constant_engine
from musetalk_core.engines.constant_engine import FakeEngine
from musetalk_core.errors import EngineError

PART_FRAMES = 8
RECORD = "PARTS_ENGINE_RECORD"
"""Environment variable with the file that receives the number of each source frame that is encoded."""


class PartsEngine(FakeEngine):
    """A blob has the number of the frame, its place among all faces of the clip, and the sum of its crop."""

    capabilities = EngineCapabilities(
        needs_crops=False, thread_safe=True, feature_size=0, part_frames=PART_FRAMES
    )
    on_face = staticmethod(ignore_face)
    """Called with the number of each frame before it is encoded; tests replace it."""

    def cache_fingerprint(self, stage):
        return {"engine": self.name, "part_frames": PART_FRAMES}

    def encode_faces(self, faces, earlier_faces=0):
        for place, face in enumerate(faces, earlier_faces):
            self.on_face(face.index)
            if RECORD in os.environ:
                with Path(os.environ[RECORD]).open("a") as record:
                    record.write(f"{face.index}\n")
            blob = np.array([face.index, place, face.crop.astype(np.int64).sum()], "<i8")
            yield EncodedFace(np.zeros(0, np.float32), blob.tobytes())

    def render(self, faces, conditioning, audio_features, on_face=ignore_face):
        crops = super().render(faces, conditioning, audio_features, on_face)
        for face, crop in zip(faces, crops, strict=True):
            crop[:, :8] = _blob(face, conditioning)[2] % 251  # what was encoded decides the crop
        return crops

    def mask(self, face, conditioning):
        _blob(face, conditioning)
        return super().mask(face, conditioning)


def _blob(face, conditioning):
    blob = np.frombuffer(conditioning.blobs.read(face.index), "<i8")
    if len(blob) != 3 or blob[0] != face.index:
        raise EngineError(f"frame {face.index} has the blob {blob.tolist()}")
    return blob.tolist()


def install():
    """Let the engine `fake` be this one."""
    constant_engine.FakeEngine = PartsEngine


def encoded_frames():
    """Return the source frames that were encoded so far, in order."""
    record = Path(os.environ[RECORD])
    return [int(line) for line in record.read_text().split()] if record.exists() else []
