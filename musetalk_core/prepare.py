"""
Prepare an avatar in two passes over the source: track the face, then let the engine encode each frame.

Memory use does not grow with the length of the source.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from musetalk_core import CORE_VERSION, avatar
from musetalk_core.engine import Conditioning, Engine, FaceFrame
from musetalk_core.errors import NoFaceFound
from musetalk_core.faces.following import FaceChoice
from musetalk_core.faces.smoothing import SIGMA_S, smooth_file
from musetalk_core.media.index import VideoIndex
from musetalk_core.media.limits import Limits
from musetalk_core.media.proxy import write_proxy
from musetalk_core.media.reader import FrameReader
from musetalk_core.media.scan import open_scan
from musetalk_core.plates import PlateFile, PlateWriter

OnFrames = Callable[[int], None]
"""Progress callback with the number of finished frames. It may raise to cancel."""

_RAW = "landmarks.raw"


@dataclass(frozen=True, slots=True)
class Request:
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
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    index: VideoIndex
    shots: npt.NDArray[np.int32]
    points: int
    detections: int


def prepare(request: Request, engine: Engine, folder: Path, on_frames: OnFrames = lambda _: None) -> None:
    """
    Prepare an avatar and write it into an empty folder.

    Args:
        request:   the source.
        engine:    the engine to prepare for; encodes the faces.
        folder:    receives the files; the caller publishes it atomically.
        on_frames: progress callback; counts the frames of both passes.

    Raises:
        NoFaceFound: no frame shows a usable face.
        MediaUnreadable, MediaTooLarge, DiskFull: see `musetalk_core.media`.
    """
    found = _find_faces(request, engine, folder, on_frames)
    if not (found.shots >= 0).any():
        raise NoFaceFound(
            f"no face was found in any of the {len(found.shots)} frames; the face should look at the camera "
            "and be at least about 60 pixels high"
        )
    times_s = found.index.pts.astype(np.float64) * float(found.index.time_base)
    sigma_s = SIGMA_S if engine.traits.smooths else 0.0
    smooth_file(folder / _RAW, folder / avatar.LANDMARKS, times_s, found.shots, found.points, sigma_s)
    (folder / _RAW).unlink()
    has_proxy = not found.index.is_seekable
    index = (
        write_proxy(request.source, folder / avatar.PROXY, found.index, request.limits)
        if has_proxy
        else found.index
    )
    pictures = folder / avatar.PROXY if has_proxy else request.source
    encoding = _Encoding(engine, pictures, index, found.shots, found.points, folder)
    conditioning = encoding.run(on_frames)
    manifest = avatar.Manifest(
        source_sha256=request.sha256,
        engine=engine.name,
        made_by=dict(engine.made_by("avatar")),
        core_version=CORE_VERSION,
        face=str(request.face),
        points=found.points,
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
    avatar.save(folder, manifest, index, found.shots, encoding.boxes, conditioning)


def _find_faces(request: Request, engine: Engine, folder: Path, on_frames: OnFrames) -> _Found:
    follower = engine.follow_faces(request.face)
    shots: list[int] = []
    nothing = np.full((follower.points, 2), np.nan, np.float32)
    with open_scan(request.source, request.limits) as scan, (folder / _RAW).open("wb") as raw:
        for picture in scan:
            seen = follower.follow(picture)
            points = nothing if seen.landmarks is None else seen.landmarks
            raw.write(np.ascontiguousarray(points, "<f4").tobytes())
            shots.append(-1 if seen.landmarks is None else seen.shot)
            on_frames(len(shots))
        index = scan.index
    return _Found(index, np.array(shots, np.int32), follower.points, follower.detections)


class _Encoding:
    """The second pass: crop the frames with a face, encode them, write the engine's data into the folder."""

    def __init__(
        self,
        engine: Engine,
        source: Path,
        index: VideoIndex,
        shots: npt.NDArray[np.int32],
        points: int,
        folder: Path,
    ) -> None:
        self._engine, self._source, self._index = engine, source, index
        self._shots, self._points, self._folder = shots, points, folder
        self.boxes = np.zeros((len(shots), 4), np.int32)

    def run(self, on_frames: OnFrames) -> Conditioning:
        records = np.full((len(self._shots), self._engine.traits.record_size), np.nan, np.float32)
        plates = self._encode(records, on_frames)
        shots = avatar.shots_list(self._shots)
        settled = self._engine.settle(records, shots, self._index.rate)
        donors = self._engine.choose_donors(settled, shots)
        wanted = np.array(sorted(set(donors.values())), np.int64)
        lent = {face.index: replace(face, picture=None) for face in self._faces(wanted)}
        return Conditioning(
            np.nan_to_num(settled, nan=0.0), {shot: lent[frame] for shot, frame in donors.items()}, plates
        )

    def _encode(self, records: npt.NDArray[np.float32], on_frames: OnFrames) -> PlateFile:
        with_face = np.flatnonzero(self._shots >= 0)
        with PlateWriter(self._folder, len(self._shots)) as plates, closing(self._faces(with_face)) as faces:
            encoded = self._engine.encode_faces(faces)
            for done, (frame, kept) in enumerate(zip(with_face.tolist(), encoded, strict=True)):
                records[frame] = kept.record
                plates.write(frame, kept.plate)
                on_frames(len(self._shots) + done + 1)
        return plates.plates

    def _faces(self, frames: npt.NDArray[np.int64]) -> Generator[FaceFrame]:
        """Yield the faces of these frames and set their rows of `boxes`."""
        width, height = self._index.width, self._index.height
        with FrameReader(self._source, self._index) as reader:
            for frame, picture in zip(frames.tolist(), reader.read(frames.tolist()), strict=True):
                points = avatar.read_landmarks(self._folder, self._points, frame)
                box = self._engine.crop_box(points, width, height)
                self.boxes[frame] = box.x1, box.y1, box.x2, box.y2
                yield FaceFrame(frame, int(self._shots[frame]), box, picture.window(box), points, picture)
