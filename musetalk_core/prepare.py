"""Prepare an avatar: one pass that finds the face, one that lets the engine encode it. Memory stays flat."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musetalk_core import CORE_VERSION, avatar
from musetalk_core.engine import Conditioning, Engine, FaceFrame
from musetalk_core.errors import NoFaceFound
from musetalk_core.faces.finding import FaceChoice
from musetalk_core.faces.smoothing import smooth_file
from musetalk_core.faces.tracking import Tracker
from musetalk_core.media.index import VideoIndex
from musetalk_core.media.limits import Limits
from musetalk_core.media.proxy import write_proxy
from musetalk_core.media.reader import FrameReader
from musetalk_core.media.scan import open_scan
from musetalk_core.types import Float

OnFrames = Callable[[int], None]
"""Told how many frames are done; may raise to cancel."""

_RAW = "landmarks.raw"


@dataclass(frozen=True, slots=True)
class Request:
    """What to prepare: the file, its content hash, whose face, for which limits."""

    source: Path
    sha256: str
    face: FaceChoice = "largest"
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    index: VideoIndex
    shots: npt.NDArray[np.int32]
    detections: int


def prepare(request: Request, engine: Engine, folder: Path, on_frames: OnFrames = lambda _: None) -> None:
    """
    Write a prepared avatar into an empty folder.

    Args:
        request:   the source.
        engine:    whose crops and records are made.
        folder:    receives the files; the caller makes it appear atomically.
        on_frames: progress, over both passes.

    Raises:
        NoFaceFound: no frame shows a usable face.
        MediaUnreadable, MediaTooLarge, DiskFull: see `musetalk_core.media`.
    """
    found = _find_faces(request, folder, on_frames)
    if not (found.shots >= 0).any():
        raise NoFaceFound(
            f"no face was found in any of the {len(found.shots)} frames; the face should look at the camera "
            "and be at least about 60 pixels high"
        )
    times_s = found.index.pts.astype(np.float64) * float(found.index.time_base)
    smooth_file(folder / _RAW, folder / avatar.LANDMARKS, times_s, found.shots)
    (folder / _RAW).unlink()
    has_proxy = not found.index.is_seekable
    index = (
        write_proxy(request.source, folder / avatar.PROXY, found.index, request.limits)
        if has_proxy
        else found.index
    )
    pictures = folder / avatar.PROXY if has_proxy else request.source
    boxes, conditioning = _encode(engine, pictures, index, found.shots, folder, on_frames)
    manifest = avatar.Manifest(
        source_sha256=request.sha256,
        engine=engine.name,
        engine_version=engine.version,
        core_version=CORE_VERSION,
        face=str(request.face),
        width=index.width,
        height=index.height,
        rate=str(index.rate),
        frames=len(found.shots),
        with_face=int((found.shots >= 0).sum()),
        gaps=avatar.gaps_of(found.shots),
        is_still=index.is_still,
        has_proxy=has_proxy,
        detections=found.detections,
    )
    avatar.save(folder, manifest, index, found.shots, boxes, conditioning)


def _find_faces(request: Request, folder: Path, on_frames: OnFrames) -> _Found:
    tracker = Tracker(request.face)
    shots: list[int] = []
    nothing = np.full((avatar.POINTS, 2), np.nan, np.float32)
    with open_scan(request.source, request.limits) as scan, (folder / _RAW).open("wb") as raw:
        for picture in scan:
            seen = tracker.follow(picture)
            points = nothing if seen.landmarks is None else seen.landmarks
            raw.write(np.ascontiguousarray(points, "<f4").tobytes())
            shots.append(-1 if seen.landmarks is None else seen.shot)
            on_frames(len(shots))
        index = scan.index
    return _Found(index, np.array(shots, np.int32), tracker.detections)


def _encode(
    engine: Engine,
    source: Path,
    index: VideoIndex,
    shots: npt.NDArray[np.int32],
    folder: Path,
    on_frames: OnFrames,
) -> tuple[npt.NDArray[np.int32], Conditioning]:
    boxes = np.zeros((len(shots), 4), np.int32)
    records = np.full((len(shots), engine.record_size), np.nan, np.float32)
    with_face = np.flatnonzero(shots >= 0)
    faces = _faces(engine, source, index, shots, folder, with_face, boxes)
    for done, (frame, record) in enumerate(zip(with_face, engine.encode_faces(faces), strict=True)):
        records[frame] = record
        on_frames(len(shots) + done + 1)
    settled = engine.settle(records, avatar.shots_list(shots), index.rate)
    donors = engine.choose_donors(settled, avatar.shots_list(shots))
    wanted = np.array(sorted(set(donors.values())), np.int64)
    lent = {f.index: f for f in _faces(engine, source, index, shots, folder, wanted, boxes)}
    return boxes, Conditioning(
        np.nan_to_num(settled, nan=0.0), {shot: lent[frame] for shot, frame in donors.items()}
    )


def _faces(
    engine: Engine,
    source: Path,
    index: VideoIndex,
    shots: npt.NDArray[np.int32],
    folder: Path,
    frames: npt.NDArray[np.int64],
    boxes: npt.NDArray[np.int32],
) -> Iterator[FaceFrame]:
    """Read the faces of these frames; fills their rows of `boxes`."""
    with FrameReader(source, index) as reader:
        for frame, picture in zip(frames.tolist(), reader.read(frames.tolist()), strict=True):
            points = _points(folder, frame)
            wanted = engine.crop_box(points, index.width, index.height)
            box = wanted.evened().clipped(index.width, index.height)
            boxes[frame] = box.x1, box.y1, box.x2, box.y2
            yield FaceFrame(frame, int(shots[frame]), box, picture.bgr(box), points)


def _points(folder: Path, frame: int) -> Float:
    offset = frame * avatar.POINTS * 8
    flat = np.fromfile(folder / avatar.LANDMARKS, "<f4", avatar.POINTS * 2, offset=offset)
    return flat.astype(np.float32, copy=False).reshape(avatar.POINTS, 2)
