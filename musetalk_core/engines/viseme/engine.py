"""The viseme engine: lip movement from phones by a mesh-driven warp, without weights."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final

import cv2
import numpy as np

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
from musetalk_core.engines.viseme import frame_record, record_smoothing
from musetalk_core.engines.viseme.closed_source import close_source
from musetalk_core.engines.viseme.face_pose import estimate_pose
from musetalk_core.engines.viseme.lip_seam import smooth_seam
from musetalk_core.engines.viseme.motion_field import compute_motion, remap_levels
from musetalk_core.engines.viseme.mouth import measure_mouth
from musetalk_core.engines.viseme.mouth_opening import opening_bounds, paint_opening
from musetalk_core.engines.viseme.target_shape import MouthParameters, compute_target_shape
from musetalk_core.engines.viseme.teeth import TeethReference, cut_out_teeth
from musetalk_core.engines.viseme.warp_field import fit_warp
from musetalk_core.errors import EngineError
from musetalk_core.faces.mesh_topology import CHIN, LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER, face_height
from musetalk_core.faces.mesh_tracker import MeshTracker
from musetalk_core.faces.tflite import DETECTOR, FACE_MESH, MESH
from musetalk_core.faces.tracker_protocol import FaceChoice, FaceTracker
from musetalk_core.formats.float_rows import Float32RowReader
from musetalk_core.formats.pcm import Samples
from musetalk_core.speech.phones import Phone
from musetalk_core.types import Box, Float, Image

_CENTRE_OFFSET_DOWN: Final = 0.10
_CROP_SIDE: Final = 1.0
_CHIN_MARGIN: Final = 0.23
_MIN_CROP_PX: Final = 16
_FEATURES: Final = 4
"""Columns of the speech features: opening, width, closure, tongue."""


class VisemeEngine:
    """An `Engine` that needs no weights except the bundled face mesh."""

    name = "viseme"
    version = "4"
    capabilities = EngineCapabilities(needs_crops=True, thread_safe=True, feature_size=frame_record.SIZE)

    batch_size = 8
    render_stats = RenderStats()
    models = (FACE_MESH,)

    def cache_fingerprint(self, stage: Stage) -> Mapping[str, object]:
        """
        Return name, version and, for `avatar`, the hashes of the face mesh networks.

        The engine has no parameters.
        """
        meshes = {"networks": [DETECTOR.sha256, MESH.sha256]} if stage == "avatar" else {}
        return {"engine": self.name, "version": self.version, **meshes}

    def create_face_tracker(self, choice: FaceChoice) -> FaceTracker:
        """Track the 468-point face mesh."""
        return MeshTracker(choice)

    def crop_box(self, landmarks: Float, width: int, height: int) -> Box:
        """
        Return the square around mouth and chin that contains all motion.

        Args:
            landmarks: (468, 2) float32, mesh in pixels of the picture.
            width:     of the picture in pixels.
            height:    of the picture in pixels.

        Returns:
            Clipped to the picture, at least two pixels wide and high, on even coordinates.
        """
        unit = face_height(landmarks)
        axes = estimate_pose(landmarks, unit).axes
        mouth = (landmarks[LEFT_MOUTH_CORNER] + landmarks[RIGHT_MOUTH_CORNER]) / 2
        centre = mouth + _CENTRE_OFFSET_DOWN * unit * axes[1]
        chin = landmarks[CHIN] + _CHIN_MARGIN * unit * axes[1]
        radius = max(_CROP_SIDE * unit / 2, float(np.abs(chin - centre).max()))
        x, y = np.clip(centre, 1, [max(width - 1, 1), max(height - 1, 1)])
        low, high = np.floor([x - radius, y - radius]), np.ceil([x + radius, y + radius])
        box = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).clip(width, height)
        return box.align_even().clip(width, height)

    def encode_faces(self, faces: Iterator[FaceFrame], earlier_faces: int = 0) -> Iterator[EncodedFace]:
        """Yield the (34,) float32 features of each face, in order; see `FrameRecord`."""
        del earlier_faces
        for face in faces:
            yield EncodedFace(frame_record.measure_frame(face).to_row())

    def smooth_features(self, frame_features: Float, shots: Sequence[int], rate: Fraction) -> Float:
        """
        Smooth frame features within each shot.

        Args:
            frame_features: (T, 34) float32; rows of frames without a face are NaN.
            shots:          shot number per frame, -1 where there is no face.
            rate:           average source frames per second.

        Returns:
            (T, 34) float32; zeros where there is no face.
        """
        return record_smoothing.smooth_records(frame_features, shots, rate)

    def choose_teeth_references(self, frame_features: Float, shots: Sequence[int]) -> dict[int, int]:
        """Return the frame of each shot that shows most teeth; shots without teeth are left out."""
        return record_smoothing.choose_teeth_references(frame_features, shots)

    def encode_audio(
        self, samples: Samples, frames: int, rate: Fraction, phones: Sequence[Phone] | None
    ) -> Iterator[Float]:
        """
        Convert speech to mouth curves.

        Args:
            samples: the speech.
            frames:  T, number of output frames.
            rate:    output frames per second.
            phones:  the phones of the speech; None: they are recognized.

        Yields:
            (T, 4) float32, once: opening 0..1, width -1 round .. +1 spread, closure 0..1, tongue 0..1.
        """
        # Imported here: loading the phone recognizer takes long, and only this method needs it.
        from musetalk_core.speech.alignment.align import find_phones
        from musetalk_core.speech.mouth_curves import mouth_curves
        from musetalk_core.speech.tongue_curve import tongue_curve

        known_phones = find_phones(samples)[0] if phones is None else phones
        curves = mouth_curves(samples, known_phones, frames, rate)
        yield np.column_stack([curves, tongue_curve(known_phones, frames, rate)])

    def audio_features(self, encoded_audio: Float32RowReader, start: int, stop: int, rate: Fraction) -> Float:
        """Return rows start..stop, (stop - start, 4) float32: one row is one output frame."""
        del rate
        return encoded_audio.read(start, stop)

    def render(
        self,
        faces: Sequence[FaceFrame],
        conditioning: Conditioning,
        audio_features: Float,
        on_face: OnFace = ignore_face,
    ) -> list[Image]:
        """
        Render new crops, in any order; the same input always gives the same bytes.

        Args:
            faces:          B source faces.
            conditioning:   of the whole clip; row `face.index` belongs to a face.
            audio_features: (B, 4) float32, rows of `encode_audio`.
            on_face:        not called: a call takes less than a second.

        Returns:
            B crops (h, w, 3) uint8 BGR of the size of their boxes; pixels that do not move keep their bytes.

        Raises:
            EngineError: the inputs differ in number, or a crop and its box in size.
        """
        del on_face
        if audio_features.shape != (len(faces), _FEATURES):
            raise EngineError(
                f"{len(faces)} faces need features of shape ({len(faces)}, {_FEATURES}),"
                f" not {audio_features.shape}"
            )
        return [
            _render_face(face, conditioning, row)
            for face, row in zip(faces, audio_features.tolist(), strict=True)
        ]

    def mask(self, face: FaceFrame, conditioning: Conditioning) -> None:
        """Return None: pixels that do not move keep the source's bytes, so no blending is needed."""

    def open_restorer(self) -> None:
        """Return None: the pixels come from the source and are as sharp."""


def _render_face(face: FaceFrame, conditioning: Conditioning, row: list[float]) -> Image:
    crop = face.crop
    size = crop.shape[1], crop.shape[0]
    if size != face.box.size:
        raise EngineError(f"a crop of {size} pixels does not match its box of {face.box.size}")
    mouth = measure_mouth(face, conditioning.frame_features[face.index])
    if min(size) < _MIN_CROP_PX or mouth.motion_share <= 0:
        return crop.copy()
    warp = fit_warp(mouth, compute_target_shape(mouth, MouthParameters(*row)), size)
    opening_area = opening_bounds(warp)
    motion = compute_motion(warp, opening_area)
    out = crop.copy()
    if not motion.area.is_empty:
        # move the pixels, antialias the seam, then draw the mouth interior into the opening
        levels = close_source(face, conditioning.frame_features[face.index].tobytes())
        source = levels[motion.area.slices()]
        picture = remap_levels(source, motion.displacement)
        smooth_seam(picture, source, motion.area, warp, opening_area)
        offset = opening_area.y1 - motion.area.y1, opening_area.x1 - motion.area.x1
        window = picture[
            offset[0] : offset[0] + opening_area.size[1], offset[1] : offset[1] + opening_area.size[0]
        ]
        paint_opening(window, opening_area, warp, _teeth_reference(face, conditioning))
        np.maximum(picture, 0, out=picture)  # convertScaleAbs would turn negative values positive
        out[motion.area.slices()] = cv2.convertScaleAbs(picture)
    return out


def _teeth_reference(face: FaceFrame, conditioning: Conditioning) -> TeethReference | None:
    reference_face = conditioning.teeth_references.get(face.shot)
    return (
        None
        if reference_face is None
        else cut_out_teeth(reference_face, conditioning.frame_features[reference_face.index].tobytes())
    )
