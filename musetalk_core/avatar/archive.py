"""
Prepared avatar on disk: manifest, frame index, landmarks, crop boxes and engine features of one source clip.

An avatar holds everything about a clip that does not depend on the speech, as a folder of small files beside
the content-addressed source. The source's frames are not copied, except into a lossless proxy if the source
cannot be read backwards. No file is a pickle.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musetalk_core.engine_protocol import Conditioning, FaceFrame
from musetalk_core.errors import InputError
from musetalk_core.formats.frame_blobs import BLOB_FILE as PLATES
from musetalk_core.formats.frame_blobs import FrameBlobFile
from musetalk_core.formats.npz import Array, load_arrays
from musetalk_core.media.video.frame_index import VideoIndex
from musetalk_core.types import Box, Float, Ints

MANIFEST_FILE, INDEX_FILE, LANDMARKS_FILE, FRAMES_FILE, TEETH_REFERENCES_FILE, PROXY_FILE = (
    "manifest.json",
    "index.npz",
    "landmarks.f32",
    "frames.npz",
    "donors.npz",
    "proxy.mp4",
)


@dataclass(frozen=True, slots=True)
class AvatarManifest:
    """
    Provenance and summary of an avatar, stored as manifest.json.

    Attributes:
        source_sha256: SHA-256 of the source file.
        engine:        name of the engine it was prepared for.
        made_by:       the engine's cache fingerprint of the stage `avatar`.
        core_version:  `CORE_VERSION` at the time of preparation.
        face:          which face was tracked, as requested.
        points:        K, landmarks per frame.
        width, height: of the frames, in pixels.
        rate:          frames per second as a fraction, for example "30000/1001".
        frames:        T, number of source frames.
        with_face:     number of frames that show the face.
        gaps:          half-open ranges of frames without a face.
        is_still:      the source is an image.
        has_proxy:     frames are read from the proxy instead of the source.
        detections:    how often the face detector ran.
        warnings:      about the faces and the size of the picture, each `code: sentence`.
    """

    source_sha256: str
    engine: str
    made_by: dict[str, Any]
    core_version: str
    face: str
    points: int
    width: int
    height: int
    rate: str
    frames: int
    with_face: int
    gaps: tuple[tuple[int, int], ...]
    is_still: bool
    has_proxy: bool
    detections: int
    warnings: tuple[str, ...] = ()
    part_frames: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Avatar:
    """
    A loaded avatar. All arrays have one entry per source frame (T).

    Attributes:
        folder:   folder of the avatar's files.
        manifest: provenance and summary.
        index:    timestamps and key frames of the source or its proxy.
        shots:    (T,) int32, shot number; -1 for frames without a face.
        boxes:    (T, 4) int32 xyxy in pixels, the engine's crop box; zeros for frames without a face.
        conditioning: per-frame features and blobs that the engine stored; blobs in parts are added by
            `musetalk_core.avatar.parts.with_parts`.
    """

    folder: Path
    manifest: AvatarManifest
    index: VideoIndex
    shots: npt.NDArray[np.int32]
    boxes: npt.NDArray[np.int32]
    conditioning: Conditioning

    @property
    def rate(self) -> Fraction:
        """The source's frame rate in frames per second."""
        return Fraction(self.manifest.rate)

    def box(self, frame: int) -> Box:
        """Return the crop box of a source frame, in pixels."""
        return Box(*(int(v) for v in self.boxes[frame]))

    def landmarks(self, frame: int) -> Float:
        """Read the (K, 2) float32 landmarks of one source frame from disk, in pixels of the frame."""
        return read_landmarks(self.folder, self.manifest.points, frame)

    def source_path(self, source: Path) -> Path:
        """Return the file to read frames from: the proxy if the avatar has one, else the source."""
        return self.folder / PROXY_FILE if self.manifest.has_proxy else source

    def nearest_with_face(self, frames: Ints) -> Ints:
        """Map (N,) int64 source frames to the nearest frames that show the face; the earlier one on a tie."""
        faces = np.flatnonzero(self.shots >= 0)
        after = np.searchsorted(faces, frames).clip(0, len(faces) - 1)
        before = (after - 1).clip(0)
        closer = np.abs(faces[before] - frames) <= np.abs(faces[after] - frames)
        return np.where(closer, faces[before], faces[after])


def save_avatar(
    folder: Path,
    manifest: AvatarManifest,
    index: VideoIndex,
    shots: npt.NDArray[np.int32],
    boxes: npt.NDArray[np.int32],
    conditioning: Conditioning,
) -> None:
    """Write all files of an avatar except the landmarks, which preparation streams into their file."""
    index.save(folder / INDEX_FILE)
    blobs = conditioning.blobs
    offsets = blobs.offsets if isinstance(blobs, FrameBlobFile) else np.zeros(len(shots) + 1, np.int64)
    np.savez(
        folder / FRAMES_FILE, shots=shots, boxes=boxes, records=conditioning.frame_features, plates=offsets
    )
    _save_teeth_references(conditioning, folder / TEETH_REFERENCES_FILE)
    (folder / MANIFEST_FILE).write_text(json.dumps(asdict(manifest), indent=1))


def load_avatar(folder: Path) -> Avatar:
    """
    Load an avatar written by `save_avatar`.

    Raises:
        InputError: a file is missing or damaged, or the arrays differ in length.
    """
    try:
        manifest = _parse_manifest(json.loads((folder / MANIFEST_FILE).read_text()))
        index = VideoIndex.load(folder / INDEX_FILE)
        arrays = load_arrays(folder / FRAMES_FILE)
        shots, boxes, frame_features = arrays["shots"], arrays["boxes"], arrays["records"]
        blobs = FrameBlobFile(folder / PLATES, arrays["plates"])
        conditioning = Conditioning(
            frame_features, _load_teeth_references(folder / TEETH_REFERENCES_FILE), blobs
        )
        landmark_frames = (folder / LANDMARKS_FILE).stat().st_size / (manifest.points * 8)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"the prepared avatar is incomplete or damaged: {error}") from error
    per_frame_arrays = (index.pts, shots, boxes, frame_features, blobs.offsets[1:])
    lengths = {manifest.frames, landmark_frames, *map(len, per_frame_arrays)}
    if len(lengths) != 1:
        raise InputError(f"the prepared avatar disagrees about its length: {sorted(lengths)}")
    return Avatar(folder, manifest, index, shots, boxes, conditioning)


def _parse_manifest(fields: dict[str, Any]) -> AvatarManifest:
    gaps = tuple((int(a), int(b)) for a, b in fields.pop("gaps"))
    warnings = tuple(str(text) for text in fields.pop("warnings", ()))
    return AvatarManifest(gaps=gaps, warnings=warnings, **fields)


def read_landmarks(folder: Path, points: int, frame: int) -> Float:
    """
    Read the (K, 2) float32 landmarks of one frame from an avatar's folder.

    Works during preparation, when only the landmarks file exists.
    """
    flat = np.fromfile(folder / LANDMARKS_FILE, "<f4", points * 2, offset=frame * points * 8)
    return flat.astype(np.float32, copy=False).reshape(points, 2)


def find_gaps(shots: npt.NDArray[np.int32]) -> tuple[tuple[int, int], ...]:
    """Return the half-open ranges of frames without a face."""
    missing = np.concatenate([[False], shots < 0, [False]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(missing))
    return tuple((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))


def _save_teeth_references(conditioning: Conditioning, path: Path) -> None:
    arrays: dict[str, npt.NDArray[Any]] = {}
    for shot, face in conditioning.teeth_references.items():
        arrays[f"{shot}.crop"] = face.crop
        arrays[f"{shot}.landmarks"] = face.landmarks
        arrays[f"{shot}.place"] = np.array(
            [face.index, face.box.x1, face.box.y1, face.box.x2, face.box.y2], np.int32
        )
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]  numpy types its flag as **kwargs


def _load_teeth_references(path: Path) -> dict[int, FaceFrame]:
    arrays = load_arrays(path)
    shots = sorted({int(name.split(".")[0]) for name in arrays})
    return {shot: _teeth_reference(arrays, shot) for shot in shots}


def _teeth_reference(arrays: dict[str, Array], shot: int) -> FaceFrame:
    index, *box = (int(v) for v in arrays[f"{shot}.place"])
    return FaceFrame(index, shot, Box(*box), arrays[f"{shot}.crop"], arrays[f"{shot}.landmarks"])


def shots_list(shots: npt.NDArray[np.int32]) -> Sequence[int]:
    """Convert shot numbers to the plain ints that the engine protocol takes."""
    return [int(shot) for shot in shots]
