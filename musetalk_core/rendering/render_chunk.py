"""Render the face crops of one chunk from source frames and audio features, batch by batch."""

import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Final, Literal

import numpy as np

from musetalk_core.avatar.archive import Avatar
from musetalk_core.engine_protocol import Engine, FaceFrame
from musetalk_core.errors import InputError, NoFaceFound
from musetalk_core.formats.chunk_crops import CropWriter
from musetalk_core.formats.float_rows import Float32RowReader
from musetalk_core.media.video.frame_reader import FrameReader
from musetalk_core.media.video.timeline import source_frames_between
from musetalk_core.rendering.chunking import Chunk
from musetalk_core.runtime.device_thread import device_thread
from musetalk_core.types import Image, Ints

NoFacePolicy = Literal["passthrough", "hold", "fail"]
OnFrames = Callable[[int], None]
"""Progress callback with the number of finished frames of the chunk. It may raise to cancel."""
OnCrop = Callable[[int, int, Image | None], None]
"""Callback with each crop in order: number of the frame in the chunk, source frame, crop (None: no face)."""

_NO_PIXELS: Final = np.zeros((0, 0, 3), np.uint8)


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

    def source_frames(self, chunk: Chunk) -> Ints:
        """
        Return the source frame of each output frame of a chunk, (N,) int64.

        The source plays forwards, then backwards, and so on.

        Raises:
            NoFaceFound: the policy is `fail` and one of the frames shows no face.
        """
        frames = source_frames_between(chunk.start, chunk.stop, self.rate, self.avatar.index)
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
    encoded_audio: Float32RowReader,
    chunk: Chunk,
    folder: Path,
    threads: int = 1,
    on_frames: OnFrames = lambda _: None,
    on_crop: OnCrop | None = None,
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
        on_crop:       called in the calling thread after each crop is written.

    Raises:
        InputError: the speech is too short for the chunk.
    """
    progress = _Progress(on_frames)
    renderer = _ChunkRenderer(scene, engine, encoded_audio, chunk, progress)
    with CropWriter(folder) as writer, closing(renderer.render_frames(threads)) as rendered_frames:
        for done, (source, crop) in enumerate(rendered_frames):
            writer.write(source, crop)
            progress.advance(done + 1)
            if on_crop is not None:
                on_crop(done, source, crop)


class _Progress:
    """Reports the number of finished frames from any thread; it never decreases."""

    def __init__(self, on_frames: OnFrames) -> None:
        self._on_frames, self._done, self._lock = on_frames, 0, threading.Lock()

    def advance(self, done: int) -> None:
        """Report the number of finished frames, unless more were reported before."""
        with self._lock:
            if done > self._done:
                self._done = done
                self._on_frames(done)


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    start: int
    sources: list[int]
    faces: list[FaceFrame | None]


RenderedFrames = list[tuple[int, Image | None]]


@dataclass(frozen=True, slots=True, eq=False)
class _ChunkRenderer:
    scene: Scene
    engine: Engine
    encoded_audio: Float32RowReader
    chunk: Chunk
    progress: _Progress

    def render_frames(self, threads: int) -> Generator[tuple[int, Image | None]]:
        """
        Yield (source frame, crop) in order. The next batches are rendered while the caller writes.

        One thread that reads, renders and writes uses 25 % less CPU time than two threads that alternate.
        Therefore a thread-safe engine gets a thread pool only if `threads` is above 1; an engine that owns a
        device always renders in the device thread.
        """
        if self.engine.capabilities.thread_safe and threads <= 1:
            for batch in self._batches():
                yield from self._render_batch(batch)
            return
        worker_count = threads if self.engine.capabilities.thread_safe else 1
        pending: deque[Future[RenderedFrames]] = deque()
        uses_device_thread = not self.engine.capabilities.thread_safe
        with nullcontext(device_thread()) if uses_device_thread else ThreadPoolExecutor(worker_count) as pool:
            try:
                for batch in self._batches():
                    pending.append(pool.submit(self._render_batch, batch))
                    if len(pending) > worker_count:
                        yield from pending.popleft().result()
                while pending:
                    yield from pending.popleft().result()
            finally:  # if the caller stops early, no work may stay queued in the shared device thread
                for future in pending:
                    future.cancel()
                wait(pending)

    def _batches(self) -> Generator[_Batch]:
        sources = self.scene.source_frames(self.chunk)
        start = 0
        with closing(self._faces(sources)) as faces:
            while start < len(sources):
                batch_sources = sources[start : start + self.engine.batch_size].tolist()
                yield _Batch(self.chunk.start + start, batch_sources, list(islice(faces, len(batch_sources))))
                start += len(batch_sources)

    def _faces(self, sources: Ints) -> Generator[FaceFrame | None]:
        """Yield the face of each output frame; the same object while the source frame stays the same."""
        last, face = -1, None
        with closing(self._source_crops(sources)) as pixels:
            for frame in sources.tolist():
                crop = next(pixels) if self.engine.capabilities.needs_crops else _NO_PIXELS
                if frame != last:
                    last, face = frame, self._face_frame(frame, crop)
                yield face

    def _source_crops(self, sources: Ints) -> Generator[Image]:
        avatar, frames = self.scene.avatar, sources.tolist()
        last, crop = -1, _NO_PIXELS
        with FrameReader(avatar.source_path(self.scene.source), avatar.index) as reader:
            for frame, picture in zip(frames, reader.read(frames), strict=True):
                if frame != last:
                    last, box = frame, avatar.box(frame)
                    crop = _NO_PIXELS if box.is_empty else picture.crop(box)
                yield crop

    def _face_frame(self, frame: int, crop: Image) -> FaceFrame | None:
        avatar = self.scene.avatar
        shot, box = int(avatar.shots[frame]), avatar.box(frame)
        return (
            None if shot < 0 or box.is_empty else FaceFrame(frame, shot, box, crop, avatar.landmarks(frame))
        )

    def _render_batch(self, batch: _Batch) -> RenderedFrames:
        visible_faces = {place: face for place, face in enumerate(batch.faces) if face is not None}
        crops = list[Image]()
        if visible_faces:
            stop = batch.start + len(batch.sources)
            rows = self.engine.audio_features(self.encoded_audio, batch.start, stop, self.scene.rate)
            if len(rows) != len(batch.sources):
                raise InputError(f"the speech ends before output frame {stop}")
            faces = list(visible_faces.values())
            first, positions = batch.start - self.chunk.start, list(visible_faces)
            crops = self.engine.render(
                faces,
                self.scene.avatar.conditioning,
                rows[positions],
                # frames are finished in order, except when several threads render
                lambda done: self.progress.advance(first + positions[done - 1] + 1),
            )
        crops_by_position = dict(zip(visible_faces, crops, strict=True))
        return [(source, crops_by_position.get(place)) for place, source in enumerate(batch.sources)]
