"""Render one chunk: source frames and features in, face crops out, batch by batch."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from musetalk_core.avatar import Avatar
from musetalk_core.crops import CropWriter
from musetalk_core.engine import Engine, FaceFrame
from musetalk_core.errors import InputError, NoFaceFound
from musetalk_core.media.reader import FrameReader
from musetalk_core.media.timeline import source_slice
from musetalk_core.plan import Chunk
from musetalk_core.types import Float, Image, Ints

NoFacePolicy = Literal["passthrough", "hold", "fail"]
OnFrames = Callable[[int], None]
"""Told how many frames of the chunk are done; may raise to cancel."""

BATCH = 8


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What every chunk of a job shares."""

    avatar: Avatar
    source: Path
    rate: Fraction
    no_face: NoFacePolicy = "passthrough"

    def sources(self, chunk: Chunk) -> Ints:
        """
        (N,) int64 source frame of each output frame; plays forwards, then backwards.

        Raises:
            NoFaceFound: the policy is `fail` and one of them shows no face.
        """
        frames = source_slice(chunk.start, chunk.stop, self.rate, self.avatar.index)
        if self.no_face == "hold":
            return self.avatar.nearest_with_face(frames)
        if self.no_face == "fail" and (self.avatar.shots[frames] < 0).any():
            missing = int(frames[self.avatar.shots[frames] < 0][0])
            raise NoFaceFound(
                f"source frame {missing} shows no face and the job asks to fail then", frame=missing
            )
        return frames


def render_chunk(
    scene: Scene,
    engine: Engine,
    features: Float,
    chunk: Chunk,
    folder: Path,
    threads: int = 1,
    on_frames: OnFrames = lambda _: None,
) -> None:
    """
    Write the crops of one chunk (see `musetalk_core.crops`) into a folder.

    Args:
        scene:    the avatar and how it is played.
        engine:   renders; called from `threads` threads at once.
        features: (T, D) float32 of the whole job, or any array whose rows chunk.start..stop exist.
        chunk:    which output frames.
        folder:   existing, empty.
    """
    rows = np.asarray(features[chunk.start : chunk.stop], np.float32)
    sources = scene.sources(chunk)
    if len(rows) != len(sources):
        raise InputError(f"{len(rows)} feature rows for {len(sources)} frames")
    batches = _batches(scene, sources, rows)
    with CropWriter(folder) as writer:
        for done, (source, crop) in enumerate(_rendered(scene, engine, batches, threads)):
            writer.write(source, crop)
            on_frames(done + 1)


Batch = tuple[list[int], list[FaceFrame | None], Float]


def _batches(scene: Scene, sources: Ints, rows: Float) -> Iterator[Batch]:
    faces = _faces(scene, sources)
    for start in range(0, len(sources), BATCH):
        part = slice(start, start + BATCH)
        yield sources[part].tolist(), list(islice(faces, BATCH)), rows[part]


def _faces(scene: Scene, sources: Ints) -> Iterator[FaceFrame | None]:
    """The face of each output frame; the same object while the source frame stays the same."""
    avatar, last, face = scene.avatar, -1, None
    with FrameReader(avatar.source_path(scene.source), avatar.index) as reader:
        for frame, picture in zip(sources.tolist(), reader.read(sources.tolist()), strict=True):
            if frame != last:
                last, shot, box = frame, int(avatar.shots[frame]), avatar.box(frame)
                face = (
                    None
                    if shot < 0 or box.is_empty
                    else FaceFrame(frame, shot, box, picture.bgr(box), avatar.landmarks(frame))
                )
            yield face


def _render(scene: Scene, engine: Engine, batch: Batch) -> list[tuple[int, Image | None]]:
    sources, faces, rows = batch
    present = [i for i, face in enumerate(faces) if face is not None]
    shown = [face for face in faces if face is not None]
    crops = engine.render(shown, scene.avatar.conditioning, rows[present]) if shown else []
    made = dict(zip(present, crops, strict=True))
    return [(source, made.get(i)) for i, source in enumerate(sources)]


def _rendered(
    scene: Scene, engine: Engine, batches: Iterator[Batch], threads: int
) -> Iterator[tuple[int, Image | None]]:
    """Batches in order, at most two per thread in flight."""
    if threads <= 1:
        for batch in batches:
            yield from _render(scene, engine, batch)
        return
    waiting: deque[Future[list[tuple[int, Image | None]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            waiting.append(pool.submit(_render, scene, engine, batch))
            if len(waiting) > threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
