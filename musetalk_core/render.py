"""Render the face crops of one chunk from source frames and audio features, batch by batch."""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final, Literal

import numpy as np

from musetalk_core.avatar import Avatar
from musetalk_core.crops import CropWriter
from musetalk_core.engine import Engine, FaceFrame
from musetalk_core.errors import InputError, NoFaceFound
from musetalk_core.media.reader import FrameReader
from musetalk_core.media.timeline import source_slice
from musetalk_core.plan import Chunk
from musetalk_core.rows import RowReader
from musetalk_core.types import Image, Ints

NoFacePolicy = Literal["passthrough", "hold", "fail"]
OnFrames = Callable[[int], None]
"""Progress callback with the number of finished frames of the chunk. It may raise to cancel."""

_BATCH: Final = 8
"""Frames per call of a thread-safe engine."""
_DEVICE_BATCH: Final = 32
"""Frames per call of an engine that owns a device; the engine splits them as its memory allows."""
_UNREAD: Final = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """
    The inputs that all chunks of a job share.

    Attributes:
        avatar:  the prepared avatar.
        source:  file of the avatar's source clip.
        rate:    output frames per second.
        no_face: what to do with source frames without a face: `passthrough` shows them unchanged, `hold`
            shows the nearest frame with a face, `fail` raises `NoFaceFound`.
    """

    avatar: Avatar
    source: Path
    rate: Fraction
    no_face: NoFacePolicy = "passthrough"

    def sources(self, chunk: Chunk) -> Ints:
        """
        Return the source frame of each output frame of a chunk, (N,) int64.

        The source plays forwards, then backwards, and so on.

        Raises:
            NoFaceFound: the policy is `fail` and one of the frames shows no face.
        """
        frames = source_slice(chunk.start, chunk.stop, self.rate, self.avatar.index)
        if self.no_face == "hold":
            return self.avatar.nearest_with_face(frames)
        if self.no_face == "fail" and (self.avatar.shots[frames] < 0).any():
            missing = int(frames[self.avatar.shots[frames] < 0][0])
            raise NoFaceFound(
                f"source frame {missing} shows no face and the job's no_face policy is fail", frame=missing
            )
        return frames


def render_chunk(
    scene: Scene,
    engine: Engine,
    heard: RowReader,
    chunk: Chunk,
    folder: Path,
    threads: int = 1,
    on_frames: OnFrames = lambda _: None,
) -> None:
    """
    Render the crops of one chunk and write them into a folder (see `CropWriter`).

    Args:
        scene:         the avatar, its source file and the output frame rate.
        engine:        the engine; called from up to `threads` threads at once if it is thread-safe.
        encoded_audio: the rows that `engine.encode_audio` yielded for the whole job.
        chunk:         the range of output frames.
        folder:        existing and empty.
        threads:       number of rendering threads of a thread-safe engine.
        on_frames:     progress callback.

    Raises:
        InputError: the speech is too short for the chunk.
    """
    work = _Work(scene, engine, heard, chunk)
    with CropWriter(folder) as writer, closing(work.rendered(threads)) as rendered:
        for done, (source, crop) in enumerate(rendered):
            writer.write(source, crop)
            on_frames(done + 1)


@cache
def _device_thread() -> ThreadPoolExecutor:
    """
    Return the executor of the one thread of this process that uses the device, shared by all chunks.

    PyTorch caches cuDNN's choice of algorithm per convolution and per thread. In a new thread every choice is
    made again, which takes longer than rendering a chunk (docs/LOG.md).
    """
    return ThreadPoolExecutor(1, thread_name_prefix="device")


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    start: int
    sources: list[int]
    faces: list[FaceFrame | None]


Rendered = list[tuple[int, Image | None]]


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    scene: Scene
    engine: Engine
    heard: RowReader
    chunk: Chunk

    def rendered(self, threads: int) -> Generator[tuple[int, Image | None]]:
        """
        Yield (source frame, crop) in order. The next batches are rendered while the caller writes.

        One thread that reads, renders and writes uses 25 % less CPU time than two threads that alternate.
        Therefore a thread-safe engine gets a thread pool only if `threads` is above 1; an engine that owns a
        device always renders in the device thread.
        """
        if self.engine.traits.in_threads and threads <= 1:
            for batch in self._batches():
                yield from self._render(batch)
            return
        workers = threads if self.engine.traits.in_threads else 1
        waiting: deque[Future[Rendered]] = deque()
        shared = not self.engine.traits.in_threads
        with nullcontext(_device_thread()) if shared else ThreadPoolExecutor(workers) as pool:
            try:
                for batch in self._batches():
                    waiting.append(pool.submit(self._render, batch))
                    if len(waiting) > workers:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:  # if the caller stops early, no work may stay queued in the shared device thread
                for left in waiting:
                    left.cancel()
                wait(waiting)

    def _batches(self) -> Generator[_Batch]:
        sources = self.scene.sources(self.chunk)
        size = _BATCH if self.engine.traits.in_threads else _DEVICE_BATCH
        with closing(self._faces(sources)) as faces:
            for start in range(0, len(sources), size):
                part = sources[start : start + size].tolist()
                yield _Batch(self.chunk.start + start, part, list(islice(faces, len(part))))

    def _faces(self, sources: Ints) -> Generator[FaceFrame | None]:
        """Yield the face of each output frame; the same object while the source frame stays the same."""
        last, face = -1, None
        with closing(self._pixels(sources)) as pixels:
            for frame in sources.tolist():
                crop = next(pixels) if self.engine.traits.needs_crops else _UNREAD
                if frame != last:
                    last, face = frame, self._face(frame, crop)
                yield face

    def _pixels(self, sources: Ints) -> Generator[Image]:
        avatar, frames = self.scene.avatar, sources.tolist()
        last, crop = -1, _UNREAD
        with FrameReader(avatar.source_path(self.scene.source), avatar.index) as reader:
            for frame, picture in zip(frames, reader.read(frames), strict=True):
                if frame != last:
                    last, box = frame, avatar.box(frame)
                    crop = _UNREAD if box.is_empty else picture.window(box)
                yield crop

    def _face(self, frame: int, crop: Image) -> FaceFrame | None:
        avatar = self.scene.avatar
        shot, box = int(avatar.shots[frame]), avatar.box(frame)
        return (
            None if shot < 0 or box.is_empty else FaceFrame(frame, shot, box, crop, avatar.landmarks(frame))
        )

    def _render(self, batch: _Batch) -> Rendered:
        shown = {place: face for place, face in enumerate(batch.faces) if face is not None}
        crops = list[Image]()
        if shown:
            stop = batch.start + len(batch.sources)
            rows = self.engine.features(self.heard, batch.start, stop, self.scene.rate)
            if len(rows) != len(batch.sources):
                raise InputError(f"the speech ends before output frame {stop}")
            faces = list(shown.values())
            crops = self.engine.render(faces, self.scene.avatar.conditioning, rows[list(shown)])
        made = dict(zip(shown, crops, strict=True))
        return [(source, made.get(place)) for place, source in enumerate(batch.sources)]
