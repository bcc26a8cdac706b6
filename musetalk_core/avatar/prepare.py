"""
Prepare an avatar in two passes over the source: track the face, then let the engine encode each frame.

Engines that encode faces in parts have only the first pass here; `musetalk_core.avatar.parts` has the second.
Memory use does not grow with the length of the source.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musetalk_core import CORE_VERSION
from musetalk_core.avatar import archive
from musetalk_core.avatar.face_frames import TrackedClip, read_faces
from musetalk_core.avatar.warnings import avatar_warnings
from musetalk_core.engine_protocol import Conditioning, Engine
from musetalk_core.errors import NoFaceFound
from musetalk_core.faces.landmark_smoothing import SIGMA_S, smooth_landmark_file
from musetalk_core.faces.tracker_protocol import FaceChoice, FacesInFrame
from musetalk_core.formats.frame_blobs import FrameBlobFile, FrameBlobWriter
from musetalk_core.media.source.limits import MediaLimits
from musetalk_core.media.video.frame_index import VideoIndex
from musetalk_core.media.video.proxy import write_proxy
from musetalk_core.media.video.scan import open_scan

OnFrames = Callable[[int], None]
"""Progress callback with the number of finished frames. It may raise to cancel."""

_RAW_LANDMARKS_FILE = "landmarks.raw"


@dataclass(frozen=True, slots=True)
class AvatarRequest:
    """
    A request to prepare an avatar.

    Attributes:
        source: the video or image file.
        sha256: SHA-256 of the file.
        face:   which face to track.
        limits: limits on the source.
    """

    source: Path
    sha256: str
    face: FaceChoice = "largest"
    limits: MediaLimits = field(default_factory=MediaLimits)


@dataclass(frozen=True, slots=True, eq=False)
class _TrackedFaces:
    index: VideoIndex
    shots: npt.NDArray[np.int32]
    landmark_count: int
    detections: int
    face_heights: list[float]
    several_faces: FacesInFrame | None


def prepare_avatar(
    request: AvatarRequest, engine: Engine, folder: Path, on_frames: OnFrames = lambda _: None
) -> None:
    """
    Prepare an avatar and write it into an empty folder.

    Args:
        request:   the source.
        engine:    the engine to prepare for; encodes the faces.
        folder:    receives the files; the caller publishes it atomically.
        on_frames: progress callback; counts the frames of both passes, of the first one if the engine encodes
            faces in parts.

    Raises:
        NoFaceFound: no frame shows a usable face.
        MediaUnreadable, MediaTooLarge, DiskFull: see `musetalk_core.media`.
    """
    tracked = _track_faces(request, engine, folder, on_frames)
    if not (tracked.shots >= 0).any():
        frames = len(tracked.shots)
        place = "in the picture" if frames == 1 else f"in any of the {frames} frames"
        raise NoFaceFound(
            f"no face was found {place}; the face should look at the camera and be at least about 60 pixels"
            " high"
        )
    times_s = tracked.index.pts.astype(np.float64) * float(tracked.index.time_base)
    sigma_s = SIGMA_S if engine.capabilities.smooth_landmarks else 0.0
    smooth_landmark_file(
        folder / _RAW_LANDMARKS_FILE,
        folder / archive.LANDMARKS_FILE,
        times_s,
        tracked.shots,
        tracked.landmark_count,
        sigma_s,
    )
    (folder / _RAW_LANDMARKS_FILE).unlink()
    has_proxy = not tracked.index.is_seekable
    index = (
        write_proxy(request.source, folder / archive.PROXY_FILE, tracked.index, request.limits)
        if has_proxy
        else tracked.index
    )
    boxes = _crop_boxes(engine, folder, tracked, index)
    part_frames = engine.capabilities.part_frames
    if part_frames:
        conditioning = Conditioning(np.zeros((len(boxes), 0), np.float32))
    else:
        clip = TrackedClip(
            folder / archive.PROXY_FILE if has_proxy else request.source,
            index,
            tracked.shots,
            boxes,
            lambda frame: archive.read_landmarks(folder, tracked.landmark_count, frame),
        )
        conditioning = _encode_all(engine, clip, folder, on_frames)
    manifest = archive.AvatarManifest(
        source_sha256=request.sha256,
        engine=engine.name,
        made_by=dict(engine.cache_fingerprint("avatar")),
        core_version=CORE_VERSION,
        face=str(request.face),
        points=tracked.landmark_count,
        width=index.width,
        height=index.height,
        rate=str(index.rate),
        frames=len(tracked.shots),
        with_face=int((tracked.shots >= 0).sum()),
        gaps=archive.find_gaps(tracked.shots),
        is_still=index.is_still,
        has_proxy=has_proxy,
        detections=tracked.detections,
        part_frames=part_frames,
        warnings=avatar_warnings(
            (index.width, index.height),
            request.face,
            tracked.shots,
            tracked.face_heights,
            tracked.several_faces,
        ),
    )
    archive.save_avatar(folder, manifest, index, tracked.shots, boxes, conditioning)


def _track_faces(request: AvatarRequest, engine: Engine, folder: Path, on_frames: OnFrames) -> _TrackedFaces:
    tracker = engine.create_face_tracker(request.face)
    shots: list[int] = []
    face_heights: list[float] = []
    missing_landmarks = np.full((tracker.point_count, 2), np.nan, np.float32)
    with (
        open_scan(request.source, request.limits) as scan,
        (folder / _RAW_LANDMARKS_FILE).open("wb") as raw_file,
    ):
        for picture in scan:
            tracked = tracker.update(picture)
            points = missing_landmarks if tracked.landmarks is None else tracked.landmarks
            raw_file.write(np.ascontiguousarray(points, "<f4").tobytes())
            if tracked.landmarks is not None:
                face_heights.append(float(np.ptp(tracked.landmarks[:, 1])))
            shots.append(-1 if tracked.landmarks is None else tracked.shot)
            on_frames(len(shots))
        index = scan.index
    return _TrackedFaces(
        index,
        np.array(shots, np.int32),
        tracker.point_count,
        tracker.detection_count,
        face_heights,
        tracker.several_faces,
    )


def _crop_boxes(
    engine: Engine, folder: Path, tracked: _TrackedFaces, index: VideoIndex
) -> npt.NDArray[np.int32]:
    """Return the engine's crop box of every frame, (T, 4) int32; zeros for frames without a face."""
    boxes = np.zeros((len(tracked.shots), 4), np.int32)
    for frame in np.flatnonzero(tracked.shots >= 0).tolist():
        points = archive.read_landmarks(folder, tracked.landmark_count, frame)
        box = engine.crop_box(points, index.width, index.height)
        boxes[frame] = box.x1, box.y1, box.x2, box.y2
    return boxes


def _encode_all(engine: Engine, clip: TrackedClip, folder: Path, on_frames: OnFrames) -> Conditioning:
    """Encode all frames with a face, and write the engine's blobs into the folder."""
    frame_features = np.full((len(clip.shots), engine.capabilities.feature_size), np.nan, np.float32)
    blobs = _encode_faces(engine, clip, folder, frame_features, on_frames)
    shots = archive.shots_list(clip.shots)
    smoothed_features = engine.smooth_features(frame_features, shots, clip.index.rate)
    reference_frames = engine.choose_teeth_references(smoothed_features, shots)
    needed_frames = np.array(sorted(set(reference_frames.values())), np.int64)
    reference_faces = {face.index: replace(face, picture=None) for face in read_faces(clip, needed_frames)}
    return Conditioning(
        np.nan_to_num(smoothed_features, nan=0.0),
        {shot: reference_faces[frame] for shot, frame in reference_frames.items()},
        blobs,
    )


def _encode_faces(
    engine: Engine,
    clip: TrackedClip,
    folder: Path,
    frame_features: npt.NDArray[np.float32],
    on_frames: OnFrames,
) -> FrameBlobFile:
    with_face = np.flatnonzero(clip.shots >= 0)
    with (
        FrameBlobWriter(folder, len(clip.shots)) as blob_writer,
        closing(read_faces(clip, with_face)) as faces,
    ):
        encoded_faces = engine.encode_faces(faces)
        for done, (frame, encoded_face) in enumerate(zip(with_face.tolist(), encoded_faces, strict=True)):
            frame_features[frame] = encoded_face.frame_features
            blob_writer.write(frame, encoded_face.blob)
            on_frames(len(clip.shots) + done + 1)
    return blob_writer.blobs
