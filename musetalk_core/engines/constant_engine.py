"""An engine without models, for tests: each crop is a flat grey level that shows how loud the speech is."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

from musetalk_core.compositing.oval_mask import oval_mask
from musetalk_core.engine_protocol import (
    Conditioning,
    EncodedFace,
    EngineCapabilities,
    FaceFrame,
    OnFace,
    RenderStats,
    Stage,
    ignore_face,
)
from musetalk_core.faces.mesh_tracker import MeshTracker
from musetalk_core.faces.tflite import FACE_MESH
from musetalk_core.faces.tracker_protocol import FaceChoice, FaceTracker
from musetalk_core.formats.float_rows import Float32RowReader
from musetalk_core.formats.pcm import Samples
from musetalk_core.speech.phones import Phone
from musetalk_core.types import SPEECH_RATE_HZ, Box, Float, Image, Mask

_CROP_SIZE_PX = 256


class FakeEngine:
    """
    An `Engine` without models. The same input gives the same bytes on every machine.

    The painted level shows which audio feature reached which frame, so tests can check order and pairing.
    """

    name = "fake"
    capabilities = EngineCapabilities(needs_crops=True, thread_safe=True, feature_size=2)

    batch_size = 8
    render_stats = RenderStats()
    models = (FACE_MESH,)

    def cache_fingerprint(self, stage: Stage) -> Mapping[str, object]:
        """Return the engine's name for every stage; the engine has no weights and no parameters."""
        del stage
        return {"engine": self.name}

    def create_face_tracker(self, choice: FaceChoice) -> FaceTracker:
        """Track the 468-point face mesh."""
        return MeshTracker(choice)

    def crop_box(self, landmarks: Float, width: int, height: int) -> Box:
        """Return the box around a (468, 2) mesh in pixels, clipped to the picture, on even coordinates."""
        low, high = np.floor(landmarks.min(axis=0)), np.ceil(landmarks.max(axis=0))
        box = Box(
            int(low[0]), int(low[1]), max(int(high[0]), int(low[0]) + 1), max(int(high[1]), int(low[1]) + 1)
        )
        return box.clip(width, height).align_even().clip(width, height)

    def encode_faces(self, faces: Iterator[FaceFrame], earlier_faces: int = 0) -> Iterator[EncodedFace]:
        """Yield (2,) float32 per face: frame number and mean grey level of the crop, 0..255."""
        del earlier_faces
        for face in faces:
            yield EncodedFace(np.array([face.index, face.crop.mean()], np.float32))

    def smooth_features(self, frame_features: Float, shots: Sequence[int], rate: Fraction) -> Float:
        """Return the features unchanged, float32, with zeros for frames without a face (NaN)."""
        del shots, rate
        return np.nan_to_num(frame_features, nan=0.0).astype(np.float32)

    def choose_teeth_references(self, frame_features: Float, shots: Sequence[int]) -> dict[int, int]:
        """Return the first frame of each shot, so that tests see that references are passed on."""
        del frame_features
        return {shot: list(shots).index(shot) for shot in sorted(set(shots)) if shot >= 0}

    def encode_audio(
        self, samples: Samples, frames: int, rate: Fraction, phones: Sequence[Phone] | None
    ) -> Iterator[Float]:
        """Yield (T, 1) float32 once: root mean square of the samples under each output frame, 0..1."""
        del phones
        edges = [int(k * SPEECH_RATE_HZ / rate) for k in range(frames + 1)]
        loudness = [_root_mean_square(samples.read(a, b)) for a, b in pairwise(edges)]
        yield np.array(loudness, np.float32).reshape(frames, 1)

    def audio_features(self, encoded_audio: Float32RowReader, start: int, stop: int, rate: Fraction) -> Float:
        """Return rows start..stop, (stop - start, 1) float32: one row is one output frame."""
        del rate
        return encoded_audio.read(start, stop)

    def render(
        self,
        faces: Sequence[FaceFrame],
        conditioning: Conditioning,
        audio_features: Float,
        on_face: OnFace = ignore_face,
    ) -> list[Image]:
        """Return (256, 256, 3) uint8 BGR crops, each one flat grey level: 255 times its feature."""
        del faces, conditioning, on_face
        return [
            np.full((_CROP_SIZE_PX, _CROP_SIZE_PX, 3), grey_level(float(row[0])), np.uint8)
            for row in audio_features
        ]

    def mask(self, face: FaceFrame, conditioning: Conditioning) -> tuple[Mask, Box]:
        """Return the feathered lower half of the face oval and its box."""
        del conditioning
        return oval_mask(face.landmarks, face.box)

    def open_restorer(self) -> None:
        """Return None: faces stay as rendered."""


def grey_level(feature: float) -> int:
    """Return the grey level 0..255 that `FakeEngine` paints for a feature; clamped to 0..1."""
    return round(255 * min(max(feature, 0.0), 1.0))


def _root_mean_square(samples: Float) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0
