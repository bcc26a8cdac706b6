"""The viseme engine: lip movement from phones by a mesh-driven warp, without weights."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final

import cv2
import numpy as np

from musetalk_core.engine import Conditioning, Counts, Encoded, FaceFrame, Stage, Traits
from musetalk_core.engines.viseme import record, settling
from musetalk_core.engines.viseme.motion import levels, motion_of, moved
from musetalk_core.engines.viseme.mouth import mouth_of
from musetalk_core.engines.viseme.opening import paint_opening, place_of
from musetalk_core.engines.viseme.pose import pose_of
from musetalk_core.engines.viseme.seam import smooth_seam
from musetalk_core.engines.viseme.shape import Speaking, shape_of
from musetalk_core.engines.viseme.teeth import Teeth, teeth_of
from musetalk_core.engines.viseme.warp import warp_of
from musetalk_core.errors import EngineError
from musetalk_core.faces.following import FaceChoice, Follower
from musetalk_core.faces.models import DETECTOR, FACE_MESH, MESH
from musetalk_core.faces.topology import CHIN, LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER, face_height
from musetalk_core.faces.tracking import Tracker
from musetalk_core.rows import RowReader
from musetalk_core.speech.phones import Phone
from musetalk_core.speech.samples import Samples
from musetalk_core.types import Box, Float, Image

_DOWN: Final = 0.10
_SIDE: Final = 1.0
_UNDER_CHIN: Final = 0.23
_LEAST_PX: Final = 16


class VisemeEngine:
    """An `Engine` that needs no weights except the bundled face mesh."""

    name = "viseme"
    version = "2"
    traits = Traits(needs_crops=True, in_threads=True, record_size=record.SIZE)

    counts = Counts()
    models = (FACE_MESH,)

    def made_by(self, stage: Stage) -> Mapping[str, object]:
        """
        Return name, version and, for `avatar`, the hashes of the face mesh networks.

        The engine has no parameters.
        """
        meshes = {"networks": [DETECTOR.sha256, MESH.sha256]} if stage == "avatar" else {}
        return {"engine": self.name, "version": self.version, **meshes}

    def follow_faces(self, choice: FaceChoice) -> Follower:
        """Track the 468-point face mesh."""
        return Tracker(choice)

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
        axes = pose_of(landmarks, unit).axes
        mouth = (landmarks[LEFT_MOUTH_CORNER] + landmarks[RIGHT_MOUTH_CORNER]) / 2
        centre = mouth + _DOWN * unit * axes[1]
        chin = landmarks[CHIN] + _UNDER_CHIN * unit * axes[1]
        radius = max(_SIDE * unit / 2, float(np.abs(chin - centre).max()))
        x, y = np.clip(centre, 1, [max(width - 1, 1), max(height - 1, 1)])
        low, high = np.floor([x - radius, y - radius]), np.ceil([x + radius, y + radius])
        box = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).clipped(width, height)
        return box.evened().clipped(width, height)

    def encode_faces(self, faces: Iterator[FaceFrame]) -> Iterator[Encoded]:
        """Yield the (33,) float32 features of each face, in order; see `FrameRecord`."""
        for face in faces:
            yield Encoded(record.measure(face).packed())

    def settle(self, records: Float, shots: Sequence[int], rate: Fraction) -> Float:
        """
        Smooth frame features within each shot.

        Args:
            frame_features: (T, 33) float32; rows of frames without a face are NaN.
            shots:          shot number per frame, -1 where there is no face.
            rate:           average source frames per second.

        Returns:
            (T, 33) float32; zeros where there is no face.
        """
        return settling.settled(records, shots, rate)

    def choose_donors(self, records: Float, shots: Sequence[int]) -> dict[int, int]:
        """Return the frame of each shot that shows most teeth; shots without teeth are left out."""
        return settling.donors(records, shots)

    def encode_speech(
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
            (T, 3) float32, once: opening 0..1, width -1 round .. +1 spread, closure 0..1.
        """
        # Imported here: loading the phone recognizer takes long, and only this method needs it.
        from musetalk_core.speech.align import phones_of
        from musetalk_core.speech.curves import curves

        known = phones_of(samples)[0] if phones is None else phones
        yield curves(samples, known, frames, rate)

    def features(self, heard: RowReader, start: int, stop: int, rate: Fraction) -> Float:
        """Return rows start..stop, (stop - start, 3) float32: one row is one output frame."""
        del rate
        return heard.read(start, stop)

    def render(self, faces: Sequence[FaceFrame], conditioning: Conditioning, features: Float) -> list[Image]:
        """
        Render new crops, in any order; the same input always gives the same bytes.

        Args:
            faces:          B source faces.
            conditioning:   of the whole clip; row `face.index` belongs to a face.
            audio_features: (B, 3) float32, rows of `encode_audio`.

        Returns:
            B crops (h, w, 3) uint8 BGR of the size of their boxes; pixels that do not move keep their bytes.

        Raises:
            EngineError: the inputs differ in number, or a crop and its box in size.
        """
        if features.shape != (len(faces), 3):
            raise EngineError(
                f"{len(faces)} faces need features of shape ({len(faces)}, 3), not {features.shape}"
            )
        return [_drawn(face, conditioning, row) for face, row in zip(faces, features.tolist(), strict=True)]

    def mask(self, face: FaceFrame, conditioning: Conditioning) -> None:
        """Return None: pixels that do not move keep the source's bytes, so no blending is needed."""


def _drawn(face: FaceFrame, conditioning: Conditioning, row: list[float]) -> Image:
    crop = face.crop
    size = crop.shape[1], crop.shape[0]
    if size != face.box.size:
        raise EngineError(f"a crop of {size} pixels does not match its box of {face.box.size}")
    mouth = mouth_of(face, conditioning.records[face.index])
    if min(size) < _LEAST_PX or mouth.motion <= 0:
        return crop.copy()
    warp = warp_of(mouth, shape_of(mouth, Speaking(*row)), size)
    opening = place_of(warp)
    motion = motion_of(warp, opening)
    out = crop.copy()
    if not motion.area.is_empty:
        # move the pixels, antialias the seam, then draw the mouth interior into the opening
        source = levels(crop, motion.area)
        picture = moved(source, motion.shift)
        smooth_seam(picture, source, motion.area, warp, opening)
        at = opening.y1 - motion.area.y1, opening.x1 - motion.area.x1
        window = picture[at[0] : at[0] + opening.size[1], at[1] : at[1] + opening.size[0]]
        paint_opening(window, opening, warp, _teeth(face, conditioning))
        np.maximum(picture, 0, out=picture)  # convertScaleAbs would turn negative values positive
        out[motion.area.slices()] = cv2.convertScaleAbs(picture)
    return out


def _teeth(face: FaceFrame, conditioning: Conditioning) -> Teeth | None:
    lent = conditioning.donors.get(face.shot)
    return None if lent is None else teeth_of(lent, conditioning.records[lent.index].tobytes())
